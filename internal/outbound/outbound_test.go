package outbound_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"longshore/internal/outbound"
	"longshore/internal/task"
)

func parse(t *testing.T, words ...string) *outbound.Policy {
	t.Helper()
	p, err := outbound.Parse(words)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allow   string
		refused string
		may     string
	}{
		{"", "127.0.0.1 127.8.9.1 0.0.0.0 0.1.2.3 10.1.2.3 172.16.0.1 192.168.1.1 100.64.0.1 169.254.169.254 224.0.0.1 255.255.255.255 168.63.129.16 198.18.0.1 " +
			":: ::1 fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 ff02::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2002:7f00:1:: ::127.0.0.1",
			"8.8.8.8 2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::808:808"},
		{"private", "127.0.0.1 169.254.169.254 ::1 fe80::1 100.100.100.200 fd00:ec2::254 168.63.129.16", "10.1.2.3 172.31.0.1 192.168.1.1 100.64.0.1 fc00::1 8.8.8.8 64:ff9b::a01:203"},
		{"10.1.0.0/16,127.0.0.1,::1", "10.2.0.1 127.0.0.2 192.168.1.1", "10.1.255.255 127.0.0.1 ::ffff:127.0.0.1 ::1"},
	} {
		p := parse(t, strings.FieldsFunc(c.allow, func(r rune) bool { return r == ',' })...)
		for list, want := range map[string]bool{c.refused: true, c.may: false} {
			for _, a := range strings.Fields(list) {
				err := p.Check("host.example", netip.MustParseAddr(a))
				if _, refused := errors.AsType[*outbound.Refused](err); refused != want {
					t.Errorf("%q: %s: %v", c.allow, a, err)
				}
			}
		}
	}
	if err := parse(t, "Git.Example.org").Check("git.example.ORG.", netip.MustParseAddr("127.0.0.1")); err != nil {
		t.Errorf("an allowed name: %v", err)
	}
	for _, bad := range []string{"", "10.0.0.0/33", "http://x", "a b", "host:80", "*.example.org"} {
		if _, err := outbound.Parse([]string{bad}); task.CodeOf(err) != task.CodeUsage {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestTransport refuses what a name leads to, also by a redirect, and says what to do.
func TestTransport(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host    string
		allow   []string
		refused bool
	}{
		{"127.0.0.1", []string{outbound.Private}, true}, {"localhost", nil, true}, {"[::ffff:127.0.0.1]", nil, true}, {"0x7f.1", nil, true},
		{"127.0.0.1", []string{"127.0.0.0/8"}, false}, {"localhost", []string{"localhost"}, false},
	} {
		client := http.Client{Transport: parse(t, c.allow...).Transport(http.DefaultTransport.(*http.Transport))}
		res, err := client.Get("http://" + c.host + ":" + port)
		if err == nil {
			res.Body.Close()
		}
		if (err != nil) != c.refused {
			t.Errorf("%s, allowed %v: %v", c.host, c.allow, err)
		}
		if told := outbound.Explain(err); c.refused && !strings.HasPrefix(c.host, "0x") && (task.CodeOf(told) != task.ReasonPolicy || !strings.Contains(told.Error(), "this machine")) {
			t.Errorf("%s: told %v", c.host, told)
		}
	}
}
