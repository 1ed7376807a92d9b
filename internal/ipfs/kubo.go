package ipfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"strings"
	"time"

	"longshore/internal/task"
)

// Kubo is an IPFS node, spoken to through its RPC ("/api/v0"). It is safe for concurrent use.
type Kubo struct {
	base   string
	client *http.Client
}

// NewKubo takes the address of a node's RPC: "http://127.0.0.1:5001", "127.0.0.1:5001" or "/ip4/127.0.0.1/tcp/5001".
func NewKubo(addr string) (*Kubo, error) {
	base, err := address(addr)
	if err != nil {
		return nil, (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%q is no address of an IPFS node", addr), Cause: err}).
			WithHint("give the address of its RPC, such as http://127.0.0.1:5001 or /ip4/127.0.0.1/tcp/5001")
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		DisableKeepAlives:   true,
	}
	return &Kubo{base: base, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func address(addr string) (string, error) {
	if strings.HasPrefix(addr, "/") {
		return multiaddr(addr)
	}
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	switch {
	case err != nil:
		return "", errors.Unwrap(err)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("the scheme %s is neither http nor https", u.Scheme)
	case u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("it is not SCHEME://HOST:PORT")
	}
	return strings.TrimSuffix(strings.TrimSuffix(u.String(), "/"), "/api/v0"), nil
}

// multiaddr reads the form that nodes write into their "api" file.
func multiaddr(addr string) (string, error) {
	words := strings.Split(strings.Trim(addr, "/"), "/")
	scheme := "http"
	if len(words) == 5 && (words[4] == "http" || words[4] == "https") {
		scheme, words = words[4], words[:4]
	}
	if len(words) != 4 || words[2] != "tcp" {
		return "", errors.New("it is not /PROTOCOL/HOST/tcp/PORT")
	}
	switch words[0] {
	case "ip4", "ip6", "dns", "dns4", "dns6":
		return scheme + "://" + net.JoinHostPort(words[1], words[3]), nil
	}
	return "", fmt.Errorf("the protocol %s is not known", words[0])
}

// Add sends a folder to the node, which lays it out itself, with the options that MECA's tools send and the rest of the
// layout spelled out, and pins it. It answers the CID that the node came to.
func (k *Kubo) Add(ctx context.Context, folder fs.FS) (CID, error) {
	const name = "task" // what the folder is called in the answer; names do not change a root's CID
	body, to := io.Pipe()
	form := multipart.NewWriter(to)
	go func() { to.CloseWithError(errors.Join(writeForm(form, folder, name), form.Close())) }()
	defer body.Close()
	query := url.Values{
		"recursive": {"true"}, "cid-version": {"1"}, "raw-leaves": {"false"}, "pin": {"true"}, "hash": {"sha2-256"},
		"chunker": {fmt.Sprintf("size-%d", chunkSize)}, "max-file-links": {fmt.Sprint(maxLinks)}, "max-hamt-fanout": {fmt.Sprint(shardFanout)},
		"trickle": {"false"}, "inline": {"false"}, "wrap-with-directory": {"false"}, "progress": {"false"},
	}
	res, err := k.post(ctx, "add", query, form.FormDataContentType(), body)
	if err != nil {
		return CID{}, err
	}
	defer res.Body.Close()
	return readAdded(res, name)
}

// readAdded reads the answer of add, one JSON document for each entry, for the CID of the entry of that name.
func readAdded(res *http.Response, name string) (CID, error) {
	var root string
	for lines := json.NewDecoder(res.Body); ; {
		var line struct{ Name, Hash, Message, Type string }
		err := lines.Decode(&line)
		switch {
		case errors.Is(err, io.EOF):
			if told := res.Trailer.Get(streamError); told != "" {
				return CID{}, nodeError("add", told)
			}
			if root == "" {
				return CID{}, nodeError("add", "the answer does not name the folder")
			}
			c, err := Parse(root)
			if err != nil {
				return CID{}, nodeError("add", "the answer's CID cannot be read: "+errors.Unwrap(err).Error())
			}
			return c, nil
		case err != nil:
			return CID{}, nodeError("add", "the answer cannot be read: "+err.Error())
		case line.Type == "error":
			return CID{}, nodeError("add", line.Message)
		case line.Name == name:
			root = line.Hash
		}
	}
}

// writeForm writes a folder as the RPC takes it: one part for each entry, folders before what is in them.
func writeForm(form *multipart.Writer, folder fs.FS, name string) error {
	return fs.WalkDir(folder, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		kind := "application/octet-stream"
		if d.IsDir() {
			kind = "application/x-directory"
		}
		part, err := form.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {mime.FormatMediaType("form-data", map[string]string{"name": "file", "filename": url.QueryEscape(path.Join(name, p))})},
			"Content-Type":        {kind},
		})
		if err != nil || d.IsDir() {
			return err
		}
		f, err := folder.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(part, f)
		return err
	})
}

// Export writes the folder's blocks to w, as a CAR archive that nothing has been checked of. More than limit bytes are an
// error.
func (k *Kubo) Export(ctx context.Context, c CID, w io.Writer, limit int64) error {
	res, err := k.post(ctx, "dag/export", url.Values{"arg": {c.String()}, "progress": {"false"}}, "", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	n, err := io.Copy(w, io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return nodeError("dag/export", fmt.Sprintf("the answer broke off after %d bytes: %v", n, err))
	case n > limit:
		return tooMuch("--max-size", "the node sends more than %d bytes for %s", limit, c)
	}
	if told := res.Trailer.Get(streamError); told != "" {
		return nodeError("dag/export", told)
	}
	return nil
}

// streamError is the trailer in which a node tells an error that came after the answer had begun.
const streamError = "X-Stream-Error"

// post calls one method of the RPC. An answer that is not a success is an error with the node's own words.
func (k *Kubo) post(ctx context.Context, method string, query url.Values, kind string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.base+"/api/v0/"+method+"?"+query.Encode(), body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := k.client.Do(req)
	if ctx.Err() != nil {
		return nil, task.Errorf(task.ReasonTimeout, "the IPFS node at %s gave no answer in time: %w", k.base, context.Cause(ctx))
	}
	if err != nil {
		return nil, (&task.Error{Code: task.CodeMissing, Message: fmt.Sprintf("the IPFS node at %s cannot be reached", k.base), Cause: errors.Unwrap(err)}).
			WithHint("is it running (`ipfs daemon`), and is this the address of its RPC?")
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 8<<10))
	if err != nil {
		return nil, nodeError(method, res.Status)
	}
	var told struct{ Message string }
	if json.Unmarshal(text, &told) != nil || told.Message == "" {
		told.Message = strings.TrimSpace(res.Status + " " + string(bytes.TrimSpace(text)))
	}
	return nil, nodeError(method, told.Message)
}

func nodeError(method, told string) error {
	return (&task.Error{Code: task.ReasonBadResponse, Message: fmt.Sprintf("the IPFS node answered %s with an error: %s", method, printable(told))}).
		WithHint("its log says more; a CAR archive needs no node (--car FILE)")
}

// printable takes what a terminal would act on out of a node's words.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
