package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"longshore/internal/outbound"
	"longshore/internal/task"
)

// Limits of a download.
const (
	maxFetch     = 8 << 30
	maxRedirects = 5
)

// fetch downloads an input and returns the file that holds it. Only http and https, and, unless the run has the network, only
// from public addresses: a package must not reach into the operator's network by naming an input. The same address is
// downloaded once. A sha256 that is not empty must be the content's.
func (r *run) fetch(ctx context.Context, address, sha256 string) (path string, err error) {
	path, ok := r.fetched[address]
	if !ok {
		if path, err = r.download(ctx, address); err != nil {
			return "", err
		}
		if r.fetched == nil {
			r.fetched = map[string]string{}
		}
		r.fetched[address] = path
	}
	if sha256 == "" {
		return path, nil
	}
	got, _, err := sumFile(path)
	switch {
	case err != nil:
		return "", task.Errorf(task.ReasonEngine, "the input %s cannot be read back: %w", address, err)
	case got != sha256:
		return "", fetchError(task.RuleInputChecksum, address, fmt.Sprintf("the input %s has the sha256 %s, and must have %s", address, got, sha256), "")
	}
	return path, nil
}

// fetchError is an input that cannot be had by its address, which the finding tells as its file.
func fetchError(rule, address, what, hint string) error {
	return &task.Error{Code: task.ReasonInput, Message: what, Hint: hint,
		Findings: []task.Finding{{Rule: rule, Severity: task.SeverityError, File: address, What: what, Mend: hint}}}
}

func (r *run) download(ctx context.Context, address string) (string, error) {
	fail := func(why error, hint string) error {
		return fetchError(task.RuleInputDownload, address, fmt.Sprintf("cannot download the input %s: %v", address, why), hint)
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", fail(err, "")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fail(fmt.Errorf("%q is not an http or https address", u.Scheme), "give a local file instead with -i name=@file")
	}
	if !r.d.Policy.Fetch {
		return "", fail(errors.New("downloads are not allowed here"), "give a local file instead with -i name=@file")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", fail(err, "")
	}
	resp, err := fetchClient(r.exec.Network).Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		hint := "give a local file instead with -i name=@file"
		if _, refused := errors.AsType[*outbound.Refused](err); refused {
			hint += ", or open the network to the run with --network host"
			err = fmt.Errorf("%w, and inputs are fetched from public addresses only", err)
		}
		return "", fail(err, hint)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fail(fmt.Errorf("it answered %s", resp.Status), "give a local file instead with -i name=@file")
	}
	dir, err := r.private("fetched", 0o700)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "input-")
	if err != nil {
		return "", task.Errorf(task.ReasonEngine, "cannot keep the input: %w", err)
	}
	n, err := io.Copy(f, io.LimitReader(resp.Body, maxFetch+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	switch {
	case err != nil:
		return "", fail(err, "")
	case n > maxFetch:
		return "", fail(fmt.Errorf("it is larger than %s", task.Bytes(maxFetch)), "")
	case n == 0:
		return "", fail(errors.New("it is empty"), "")
	}
	return filepath.Join(dir, filepath.Base(f.Name())), os.Chmod(f.Name(), 0o644)
}

// fetchClient downloads inputs, from private and loopback addresses too where that is said.
func fetchClient(private bool) *http.Client {
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: 30 * time.Second}).DialContext, Proxy: http.ProxyFromEnvironment,
		TLSHandshakeTimeout: 30 * time.Second, ResponseHeaderTimeout: time.Minute,
	}
	if !private {
		transport = (&outbound.Policy{}).Transport(transport)
	}
	return &http.Client{
		Timeout:   30 * time.Minute,
		Transport: transport,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			return nil
		},
	}
}
