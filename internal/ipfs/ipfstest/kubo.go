// Package ipfstest has an IPFS node for tests: it answers the methods of Kubo's RPC that Longshore uses as their documentation
// says, on a port of this machine, and holds what it is given in memory.
package ipfstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
	"testing/fstest"

	"longshore/internal/ipfs"
)

// Kubo is the node. Its URL is the address of the RPC.
type Kubo struct {
	*httptest.Server
	mu   sync.Mutex
	cars map[string][]byte
}

// NewKubo starts a node; the caller closes it.
func NewKubo() *Kubo {
	k := &Kubo{cars: map[string][]byte{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v0/add", k.method(k.add))
	mux.HandleFunc("/api/v0/dag/export", k.method(k.export))
	k.Server = httptest.NewServer(mux)
	return k
}

// method does what the RPC does before every method: only POST is allowed, and browsers are not.
func (k *Kubo) method(do http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodPost:
			http.Error(w, "405 - Method Not Allowed", http.StatusMethodNotAllowed)
		case r.Header.Get("Origin") != "":
			http.Error(w, "403 - Forbidden", http.StatusForbidden)
		default:
			do(w, r)
		}
	}
}

// fail answers as Kubo does for a command that failed.
func fail(w http.ResponseWriter, format string, args ...any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusInternalServerError)
	_ = json.NewEncoder(w).Encode(map[string]any{"Message": fmt.Sprintf(format, args...), "Code": 0, "Type": "error"}) // the client is gone
}

// add takes a folder as parts of a form. Only the layout that MECA's tools ask for is known.
func (k *Kubo) add(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for option, want := range map[string]string{"recursive": "true", "cid-version": "1", "raw-leaves": "false", "pin": "true"} {
		if q.Get(option) != want {
			fail(w, "option %s is %q", option, q.Get(option))
			return
		}
	}
	form, err := r.MultipartReader()
	if err != nil {
		fail(w, "%v", err)
		return
	}
	root, folder, err := readForm(form)
	if err != nil {
		fail(w, "%v", err)
		return
	}
	cid, car, err := archive(r, folder)
	if err != nil {
		fail(w, "%v", err)
		return
	}
	k.mu.Lock()
	k.cars[cid] = car
	k.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	for name := range folder {
		_ = out.Encode(map[string]string{"Name": path.Join(root, name), "Hash": "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y", "Size": "4"})
	}
	_ = out.Encode(map[string]string{"Name": root, "Hash": cid, "Size": "4"}) // the client is gone
}

// readForm reads the parts: the first is the root, and every other lies below it.
func readForm(form *multipart.Reader) (root string, folder fstest.MapFS, err error) {
	folder = fstest.MapFS{}
	for {
		part, err := form.NextPart()
		if err == io.EOF {
			return root, folder, nil
		}
		if err != nil {
			return "", nil, err
		}
		_, disposition, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if err != nil {
			return "", nil, err
		}
		name, err := url.QueryUnescape(disposition["filename"])
		if err != nil {
			return "", nil, err
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return "", nil, err
		}
		isDir := part.Header.Get("Content-Type") == "application/x-directory"
		if root == "" && isDir {
			root = name
			continue
		}
		below, ok := strings.CutPrefix(name, root+"/")
		if !ok {
			return "", nil, fmt.Errorf("file %q outside of the root %q", name, root)
		}
		folder[below] = &fstest.MapFile{Data: data, Mode: 0o644}
		if isDir {
			folder[below].Mode = fs.ModeDir | 0o755
		}
	}
}

func archive(r *http.Request, folder fs.FS) (cid string, car []byte, err error) {
	f, err := os.CreateTemp("", "kubo-")
	if err != nil {
		return "", nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	w := ipfs.NewCARWriter(f)
	tree, err := ipfs.Layout(r.Context(), folder, w)
	if err == nil {
		err = w.Finish(tree.CID)
	}
	if err == nil {
		car, err = os.ReadFile(f.Name())
	}
	return tree.CID.String(), car, err
}

// export answers with the archive of a folder. One that the node does not have is an error that comes, as from Kubo when it is
// offline, after the answer has begun.
func (k *Kubo) export(w http.ResponseWriter, r *http.Request) {
	cid := r.URL.Query().Get("arg")
	k.mu.Lock()
	car, ok := k.cars[cid]
	k.mu.Unlock()
	w.Header().Set("Content-Type", "application/vnd.ipld.car")
	w.Header().Set("Trailer", "X-Stream-Error")
	w.WriteHeader(http.StatusOK)
	if !ok {
		w.Header().Set("X-Stream-Error", "block was not found locally (offline): ipld: could not find "+cid)
		return
	}
	_, _ = io.Copy(w, bytes.NewReader(car)) // the client is gone
}
