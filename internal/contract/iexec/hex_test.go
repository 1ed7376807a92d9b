package iexec

import (
	"encoding/hex"
	"testing"
)

// Worked values of the iExec reference, section 11.1: what the lenient decoder makes of words.
func TestLenientHex(t *testing.T) {
	for text, want := range map[string]string{
		"":       "",
		"0x":     "",
		"0x00ff": "00ff",
		"ABcd":   "abcd",
		"1":      "01",
		"0xabc":  "0abc",
		"hello":  "ffdfef",
		"hollo":  "ffefef",
		"hippo":  "ffefef",
		"jumps":  "ffefef",
		"é":      "ff",
		"😀":      "ef", // two UTF-16 code units
	} {
		if got := hex.EncodeToString(lenientHex(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// Worked values of sections 11.2 and 11.3: keccak256 of joined values, a v2 resultHash, a task id.
func TestKeccak(t *testing.T) {
	b := func(text string) []byte {
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	a1, a2, a3 := b("748e091bf16048cb5103E0E10F9D5a8b7fBDd860"), b("d94b63fc2d3ec4b96daf84b403bbafdc8c8517e8e2addd51fec0fa4e67801be8"), b("9a43BB008b7A657e1936ebf5d8e28e5c5E021596")
	for _, tc := range []struct {
		got  []byte
		want string
	}{
		{keccak256(a1, a2), "9ca8cbf81a285c62778678c874dae13fdc6857566b67a9a825434dd557e18a8d"},
		{keccak256(a1, a2, a3), "54a76d209e8167e1ffa3bde8e3e7b30068423ca9554e1d605d8ee8fd0f165562"},
		{keccak256([]byte("iExec the wanderer")), "5def3ac0554e7a443f84985aa9629864e81d71d59e0649ddad3d618f85a1bf4b"},
		{keccak256(b("5def3ac0554e7a443f84985aa9629864e81d71d59e0649ddad3d618f85a1bf4b")), "2fa3c6dc29e10dfc01cea7e9443ffe431e6564e74f5dcf4de4b04f2e5d343d70"},
		{keccak256(b("b983c444e57992b7de8b05f37514c746b9c0ac63deb6fcc043b5bf89c2949e81")), "0419e0f2c5a7bdf4a910274dd3d9914110480f232959655f13f478bc42ec0f27"},
		{taskIDOf(b("a0b0fd396b0f79f14e4d6b34af7180bd9e80e2d86afda91c6127c5c17a268e66"), "0"), "e06c86d6bb750dbd9be9e002482854b3b3f21550dbe37236767b9cac29e3ce28"},
		{taskIDOf(b("d8efb5cc442134a1080f2d257e5203ab1e02e6f1ae9b04e0c7cc5b05bc4d951d"), "0"), "60c5d9876482e5f02cd1764307c12e825ab1f3f227989bab83206dde61deb600"},
		{keccak256(b("e06c86d6bb750dbd9be9e002482854b3b3f21550dbe37236767b9cac29e3ce28"), b("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")), "fc0cc092b6f92dfed734e4e0d0599b625dded9555c59c5ba05c7c53226119489"},
	} {
		if got := hex.EncodeToString(tc.got); got != tc.want {
			t.Errorf("%s, want %s", got, tc.want)
		}
	}
}
