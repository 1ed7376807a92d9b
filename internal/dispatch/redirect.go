package dispatch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"longshore/internal/task"
)

// maxFollowed bounds how often one request is redirected, as Go's own HTTP client, which MECA's executor uses, does.
const maxFollowed = 10

// call is what is asked of a server: the one request of a run, or what a redirect made of it.
type call struct {
	method, path string
	body         bool // the request's body goes along
}

func firstCall(h *task.HTTPExchange) call { return call{method: h.Method, path: h.Path, body: true} }

// follows goes where an answer redirects to, as the clients of the platforms do, while that is the same server. Any other
// answer is returned as it is.
func (x *exchange) follows(ctx context.Context, p task.Port, resp *http.Response) (*http.Response, error) {
	if x.exec.HTTP.AcceptStatus {
		return resp, nil
	}
	what := firstCall(x.exec.HTTP)
	for range maxFollowed {
		next, ok := what.redirected(resp, p)
		if !ok {
			return resp, nil
		}
		x.result.Notes = append(x.result.Notes, fmt.Sprintf("the server redirected the request to %s (HTTP %d)", next.path, resp.StatusCode))
		resp.Body.Close()
		var err error
		if resp, err = x.try(ctx, p, next); err != nil {
			return nil, fmt.Errorf("after a redirect to %s: %w", next.path, plain(err))
		}
		what = next
	}
	if _, more := what.redirected(resp, p); more {
		resp.Body.Close()
		return nil, fmt.Errorf("it redirected the request %d times", maxFollowed+1)
	}
	return resp, nil
}

// plain takes an error out of the errors after which the whole request would be made again.
func plain(err error) error {
	if d, ok := errors.AsType[*dialError](err); ok {
		return d.error
	}
	return err
}

// redirected is the call that an answer asks for: the same for 307 and 308, else a GET without a body (RFC 9110, 15.4). It is
// none when the answer is no redirect, or leads out of the container.
func (c call) redirected(resp *http.Response, p task.Port) (call, bool) {
	next := call{method: http.MethodGet}
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		next = c
	default:
		return call{}, false
	}
	to := resp.Header.Get("Location")
	if to == "" {
		return call{}, false
	}
	base := &url.URL{Scheme: "http", Host: net.JoinHostPort("localhost", strconv.Itoa(p.Number))}
	at, err := base.Parse(c.path)
	if err != nil {
		return call{}, false
	}
	u, err := at.Parse(to)
	if err != nil || u.Scheme != "http" || !ownHost(u, p) {
		return call{}, false
	}
	next.path = u.RequestURI()
	return next, true
}

// ownHost tells whether an address is that of the server that was asked.
func ownHost(u *url.URL, p task.Port) bool {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
	return local && port == strconv.Itoa(p.Number)
}
