// Package outbound keeps a server that fetches what strangers name from being sent to where only it can go: itself, its cloud's
// metadata, its neighbours. The address that is looked at is the one that is dialled, so that a name cannot change its mind between.
// It knows nothing of what is fetched.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"longshore/internal/task"
)

// Private, in a list for Parse, stands for the addresses of private networks.
const Private = "private"

// Policy says where connections may go besides public addresses. Its zero value allows nothing more. It is safe for concurrent use.
type Policy struct {
	allowed []netip.Prefix
	hosts   []string
	private bool
}

// Parse reads a policy: addresses, networks (10.1.0.0/16), names of hosts, all of whose addresses may be used, and "private".
func Parse(list []string) (*Policy, error) {
	p := &Policy{}
	for _, word := range list {
		if word == Private {
			p.private = true
		} else if prefix, err := netip.ParsePrefix(word); err == nil {
			p.allowed = append(p.allowed, prefix.Masked())
		} else if a, err := netip.ParseAddr(strings.Trim(word, "[]")); err == nil {
			p.allowed = append(p.allowed, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		} else if word == "" || strings.ContainsAny(word, "/:@ *") {
			return nil, task.Errorf(task.CodeUsage, "%q is no address, network, host name or %q", word, Private).WithHint("such as git.example.org, 10.1.2.3 or 127.0.0.0/8")
		} else {
			p.hosts = append(p.hosts, canonical(word))
		}
	}
	return p, nil
}

func canonical(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

// Refused is the error about an address that may not be connected to.
type Refused struct {
	Host    string
	Address netip.Addr
	what    string
}

func (e *Refused) Error() string {
	if e.Host == e.Address.String() {
		return fmt.Sprintf("%s is %s", e.Host, e.what)
	}
	return fmt.Sprintf("%s has the address %s, which is %s", e.Host, e.Address, e.what)
}

// Explain makes of a refusal within err what people are told; any other error is answered as it is.
func Explain(err error) error {
	r, ok := errors.AsType[*Refused](err)
	if !ok {
		return err
	}
	return (&task.Error{Code: task.ReasonPolicy, Message: "nothing is fetched from there: " + r.Error()}).
		WithHint("this keeps imports from reaching what only the server can; the operator can allow the host or its network: sources.allow")
}

// special are addresses that look like others and lead to a machine's or a cloud's own services, with what they are.
func special() map[netip.Prefix]string {
	return map[netip.Prefix]string{
		netip.MustParsePrefix("168.63.129.16/32"):   "of a cloud's own services",
		netip.MustParsePrefix("100.100.100.200/32"): "of a cloud's metadata",
		netip.MustParsePrefix("fd00:ec2::/32"):      "of a cloud's metadata",
		netip.MustParsePrefix("0.0.0.0/8"):          "of this machine",
		netip.MustParsePrefix("192.0.0.0/24"):       "reserved",
		netip.MustParsePrefix("198.18.0.0/15"):      "reserved",
		netip.MustParsePrefix("240.0.0.0/4"):        "reserved",
		netip.MustParsePrefix("fec0::/10"):          "reserved",
	}
}

// carriers are networks of IPv6 whose addresses carry one of IPv4, and after how many bytes.
func carriers() map[netip.Prefix]int {
	return map[netip.Prefix]int{
		netip.MustParsePrefix("64:ff9b::/96"): 12,
		netip.MustParsePrefix("::/96"):        12,
		netip.MustParsePrefix("2002::/16"):    2,
	}
}

// Check tells why an address may not be connected to on behalf of a host's name, as a *Refused; nil when it may.
func (p *Policy) Check(host string, a netip.Addr) error {
	a = a.Unmap().WithZone("")
	if slices.Contains(p.hosts, canonical(host)) || slices.ContainsFunc(p.allowed, func(n netip.Prefix) bool { return n.Contains(a) }) {
		return nil
	}
	what := ""
	switch {
	case a.IsLoopback(), a.IsUnspecified():
		what = "of this machine"
	case a.IsLinkLocalUnicast(), a.IsLinkLocalMulticast(), a.IsInterfaceLocalMulticast():
		what = "of the local link, where clouds keep their metadata"
	case !a.IsGlobalUnicast():
		what = "no address of a single machine"
	case !p.private && (a.IsPrivate() || netip.MustParsePrefix("100.64.0.0/10").Contains(a)):
		what = "of a private network"
	}
	for n, is := range special() {
		if n.Contains(a) {
			what = is
		}
	}
	for n, at := range carriers() {
		if raw := a.AsSlice(); what == "" && n.Contains(a) {
			if v4, ok := netip.AddrFromSlice(raw[at : at+4]); ok {
				return p.Check(host, v4)
			}
		}
	}
	if what == "" {
		return nil
	}
	return &Refused{Host: host, Address: a, what: what}
}

// Dial connects to the first address of a host that answers and that may be connected to.
func (p *Policy) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	list, err := addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: 30 * time.Second}
	var refused error
	for _, a := range list {
		if no := p.Check(host, a); no != nil {
			refused = no
			continue
		}
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
			return conn, nil
		}
	}
	if err == nil {
		err = refused
	}
	return nil, err
}

func addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(list) == 0 {
		err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	return list, err
}

// Transport is base with connections by p. Where the environment names a proxy, that makes the connections, and what it may reach is
// its own affair; names that are known here to lead nowhere but to what p refuses are not asked for.
func (p *Policy) Transport(base *http.Transport) *http.Transport {
	t := base.Clone()
	proxies := environmentProxies()
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if slices.Contains(proxies, address) {
			return (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, network, address)
		}
		return p.Dial(ctx, network, address)
	}
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		proxy, err := http.ProxyFromEnvironment(r)
		if proxy == nil || err != nil {
			return nil, err
		}
		return proxy, p.leads(r.Context(), r.URL.Hostname())
	}
	return t
}

// leads refuses a host all of whose addresses, as far as they are known here, are refused.
func (p *Policy) leads(ctx context.Context, host string) (err error) {
	list, unknown := addresses(ctx, host)
	if unknown != nil {
		return nil // the proxy may know it
	}
	for _, a := range list {
		if err = p.Check(host, a); err == nil {
			return nil
		}
	}
	return err
}

// environmentProxies are the addresses of proxies that the environment names.
func environmentProxies() (list []string) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		value := os.Getenv(name)
		if value != "" && !strings.Contains(value, "://") {
			value = "http://" + value
		}
		u, err := url.Parse(value)
		if err != nil || u.Hostname() == "" {
			continue
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
		}
		list = append(list, net.JoinHostPort(u.Hostname(), port))
	}
	return list
}
