package ipfs_test

import (
	"errors"
	"strings"
	"testing"

	"longshore/internal/ipfs"
	"longshore/internal/task"
)

// The pairs of MECA's reference, section 11.5.
func TestParseConverts(t *testing.T) {
	for _, c := range []struct{ digest, v1, v0 string }{
		{strings.Repeat("00", 32), "bafybeiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "QmNLei78zWmzUdbeRB3CiUfAizWUrbeeZh5K1rhAQKCh51"},
		{strings.Repeat("11", 32), "bafybeiarceirceirceirceirceirceirceirceirceirceirceirceirce", "QmPVGjYFugq4XUyBfoTHG6c3qxfBS26jEdaFM1gdAVuMZ2"},
		{strings.Repeat("22", 32), "bafybeibceirceirceirceirceirceirceirceirceirceirceirceircei", "QmQdtkyNprt8aLLivRsMoiYvxvot1SYoua5BgAg5vgc233"},
		{
			"f3ede8164727940c3eb21c039f94b8f92f3547b1e2cb20196a0ba0aced0887b3",
			"bafybeiht5xubmrzhsqgd5mq4aopzjohzf42upmpczmqbs2qlucwo2cehwm", "QmekrBjadCQow8dYBKsEQTNuR3A74XVsEzAkYtGroVvJ4S",
		},
	} {
		for _, form := range []string{c.digest, "0x" + c.digest, strings.ToUpper(c.digest), c.v1, c.v0, "B" + strings.ToUpper(c.v1[1:]), "f01701220" + c.digest} {
			got, err := ipfs.Parse(form)
			if err != nil || got.String() != c.v1 || got.V0() != c.v0 || got.Hex() != "0x"+c.digest {
				t.Errorf("Parse(%s) = %s, %s, %s, %v", form, got, got.V0(), got.Hex(), err)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	digest := strings.Repeat("11", 32)
	for text, want := range map[string]string{
		"":                          "",
		"knn":                       "Invalid cid version",
		"0x":                        "Invalid sha256 length",
		"0x1111":                    "Invalid sha256 length",
		"0x" + digest + "11":        "Invalid sha256 length",
		"0x" + digest[:62] + "zz":   "Invalid sha256",
		"f02701220" + digest:        "Invalid cid version",
		"f1220" + digest:            "Invalid cid version",
		"f01551220" + digest:        "Invalid cid codec",
		"f01711220" + digest:        "Invalid cid codec",
		"f01701320" + digest:        "Invalid cid multihash type",
		"f01701214" + digest[:40]:   "Invalid cid multihash length",
		"f01701220" + digest[:60]:   "Invalid cid multihash string length",
		"f01701220" + digest + "11": "Invalid cid multihash string length",
		"f01f0001220" + digest:      "Invalid cid codec", // 0x70 in two bytes
		"QmNLei78zWmzUdbeRB3CiUfAizWUrbeeZh5K1rhAQKCh5":  "Invalid cid version",
		"Qm0Lei78zWmzUdbeRB3CiUfAizWUrbeeZh5K1rhAQKCh51": "",
	} {
		_, err := ipfs.Parse(text)
		if task.CodeOf(err) != task.CodeUsage || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v, want %q", text, err, want)
		}
		if e, ok := errors.AsType[*task.Error](err); ok && e.Hint == "" {
			t.Errorf("Parse(%q) gives no hint", text)
		}
	}
}

// FuzzParse holds that a text is refused, or has one CID that all its forms lead back to.
func FuzzParse(f *testing.F) {
	f.Add("bafybeiht5xubmrzhsqgd5mq4aopzjohzf42upmpczmqbs2qlucwo2cehwm")
	f.Add("QmekrBjadCQow8dYBKsEQTNuR3A74XVsEzAkYtGroVvJ4S")
	f.Add("0x" + strings.Repeat("00", 32))
	f.Add("f01701220" + strings.Repeat("11", 32))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ipfs.Parse(text)
		if err != nil {
			return
		}
		for _, form := range []string{c.String(), c.V0(), c.Hex()} {
			if again, err := ipfs.Parse(form); err != nil || again != c {
				t.Errorf("%q: %s is %v, %v", text, form, again, err)
			}
		}
	})
}
