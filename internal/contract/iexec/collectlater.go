package iexec

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// later collects /iexec_out.
func (c *collector) later() error {
	c.Outputs[outputResult] = task.Value{Path: c.dir}
	c.stream(outputStdout, c.left.Stdout)
	c.stream(outputStderr, c.left.Stderr)
	entries, err := walk(c.root)
	if err != nil {
		return task.Errorf(task.ReasonEngine, "the result cannot be read: %w", err)
	}
	for _, e := range entries {
		name := path.Base(e.path)
		if n := len(utf16.Encode([]rune(name))); !e.mode.IsDir() && n > 31 {
			c.problems.add(ruleLongName, contract.At{}, "give it a shorter name", "result file name %s has %d characters, iExec refuses more than 31", name, n)
		}
		if e.mode&os.ModeSymlink != 0 {
			c.warn("%s is a link: iExec's upload would leave it empty", path.Join(folderOut, e.path))
		}
	}
	if err := c.laterDigest(); err != nil {
		return err
	}
	if c.left.Exit.Code != 0 && c.Digest != "" {
		c.note("iExec 9.2 would contribute this digest although the app failed; earlier versions would not")
	}
	return nil
}

func (c *collector) laterDigest() error {
	data, found, err := c.small("computed.json")
	if found {
		return c.computed(data, err)
	}
	for _, name := range []string{"determinism.iexec", "consensus.iexec"} {
		if c.linkInside(name) {
			c.refuseLink(path.Join(folderOut, name))
			return nil
		}
	}
	data, found, err = c.small("determinism.iexec")
	if found && err == nil {
		c.deterministic("determinism.iexec")
		c.Digest, c.DigestRule = determinism(data)
		c.callbackFile()
		return nil
	}
	if st, err := c.root.Stat("consensus.iexec"); err == nil && st.Mode().IsRegular() {
		d, err := c.fileSum("consensus.iexec")
		if err != nil {
			return task.Errorf(task.ReasonEngine, "consensus.iexec cannot be read: %w", err)
		}
		c.deterministic("consensus.iexec")
		c.Digest, c.DigestRule = hex.EncodeToString(d), "consensus.iexec: sha256 of the file"
		c.warn("consensus.iexec is the file of v2; workers from v5 on read computed.json")
		return nil
	}
	f := c.problems.add(ruleNoDigest, contract.At{}, `write {"deterministic-output-path": "/iexec_out/<file>"} into $IEXEC_OUT/computed.json`, "computed.json is missing from IEXEC_OUT")
	f.Why = "without it iExec has no digest and could not contribute"
	return nil
}

var hex32 = regexp.MustCompile(`^(0[xX])?[0-9a-fA-F]{64}$`)

// determinism is the digest that determinism.iexec stands for: 32 bytes in hexadecimal are the digest itself, anything
// else is hashed as it is.
func determinism(data []byte) (digest, rule string) {
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if hex32.MatchString(text) {
		return strings.ToLower(text[len(text)-64:]), "determinism.iexec: the 32 bytes it holds"
	}
	d, _ := sum(bytes.NewReader(data)) // reading from memory cannot fail
	return hex.EncodeToString(d), "determinism.iexec: sha256 of the file"
}

// callbackFile shows the callback of v3 and v4, when it is hexadecimal text.
func (c *collector) callbackFile() {
	data, found, err := c.small("callback.iexec")
	if !found || err != nil {
		return
	}
	text := strings.TrimSpace(string(data))
	if b, err := decodeHex(text); err == nil {
		c.note("callback: 0x%s", hex.EncodeToString(b[:min(len(b), 64)]))
	} else {
		c.warn("callback.iexec is not hexadecimal text: there is no callback")
	}
}

func decodeHex(text string) ([]byte, error) {
	text = strings.TrimPrefix(strings.TrimPrefix(text, "0x"), "0X")
	return hex.DecodeString(text)
}

// computed follows computed.json.
func (c *collector) computed(data []byte, err error) error {
	fail := func(rule, mend, what string, args ...any) error {
		c.problems.add(rule, contract.At{}, mend, what, args...).File = "computed.json"
		return nil
	}
	if err != nil {
		return fail(ruleComputed, "", "computed.json cannot be read: %v", err)
	}
	n, err := contract.ParseJSON(data)
	switch {
	case err != nil:
		return fail(ruleComputed, "write one JSON object", "computed.json is not valid JSON: %v", err)
	case n.Kind != contract.NodeObject:
		return fail(ruleComputed, "write an object", "computed.json is a %s, must be an object", n.Kind)
	}
	for _, m := range n.Members {
		if m.Value.IsNull() {
			continue
		}
		switch m.Key {
		case "deterministic-output-path", "callback-data", "error-message", "task-id", "result-digest", "enclave-signature":
			if !m.Value.Is(contract.NodeString) {
				return fail(ruleComputed, "put it in quotes", "%s in computed.json is a %s, must be a string", m.Key, m.Value.Kind)
			}
		}
	}
	if n.Get("result-digest").Str() != "" {
		c.warn("computed.json holds a result-digest: it is not trusted, and computed again")
	}
	if text := n.Get("error-message").Str(); text != "" {
		c.note("the app's error message: %s", shorten(text))
	}
	callback := n.Get("callback-data").Str()
	if c.Callback {
		b, err := decodeHex(callback)
		switch {
		case callback == "":
			return fail(ruleCallback, `write "callback-data": "0x…"`, `the deal has a callback but computed.json has no "callback-data"`)
		case err != nil:
			return fail(ruleCallback, "write an even number of hexadecimal digits", "callback-data in computed.json is not hexadecimal")
		}
		c.Digest, c.DigestRule = hex.EncodeToString(keccak256(b)), "computed.json: keccak256 of callback-data"
		return nil
	}
	if callback != "" {
		c.note("callback-data is not used: the request has no callback")
	}
	return c.deterministicPath(n.Get("deterministic-output-path").Str())
}

// deterministicPath digests the file or folder that computed.json names.
func (c *collector) deterministicPath(written string) error {
	fail := func(rule, mend, what string, args ...any) error {
		c.problems.add(rule, contract.At{}, mend, what, args...).File = "computed.json"
		return nil
	}
	clean := path.Clean(written)
	rel, inside := strings.CutPrefix(clean+"/", folderOut+"/")
	rel = strings.TrimSuffix(rel, "/")
	switch {
	case written == "":
		return fail(ruleDeterministic, `write "deterministic-output-path": "/iexec_out/<file>"`, "computed.json has no deterministic-output-path")
	case !inside || strings.ContainsRune(written, 0):
		return fail(ruleDeterministic, "name something below "+folderOut, "deterministic-output-path %q is not inside %s", shorten(written), folderOut)
	case rel == "":
		rel = "."
	}
	st, err := c.root.Lstat(rel)
	switch {
	case err != nil:
		return fail(ruleDeterministic, "write the file before computed.json names it", "deterministic-output-path %q does not exist", shorten(written))
	case c.linkInside(rel):
		c.refuseLink(clean)
		return nil
	}
	if st.IsDir() {
		return c.digestFolder(rel, clean, fail)
	}
	d, err := c.fileSum(rel)
	if err != nil {
		return task.Errorf(task.ReasonEngine, "%s cannot be read: %w", clean, err)
	}
	if rel == "stdout.txt" || rel == "stderr.txt" {
		c.warn("fragile: the log is part of the digest")
	}
	c.deterministic(rel)
	c.Digest, c.DigestRule = hex.EncodeToString(d), "computed.json: sha256 of "+clean
	return nil
}

// linkInside tells whether the path or a folder on the way to it is a link.
func (c *collector) linkInside(rel string) bool {
	for p := rel; p != "."; p = path.Dir(p) {
		if st, err := c.root.Lstat(p); err == nil && st.Mode()&os.ModeSymlink != 0 {
			return true
		}
	}
	return false
}

// refuseLink reports a link in the part that the digest covers (iExec reference, section 5.2).
func (c *collector) refuseLink(name string) {
	c.problems.add(ruleLink, contract.At{}, "copy the file", "%s is a link: the digest would cover another file than the upload", name)
}

// digestFolder is keccak256 over the sha256 of each file that lies directly in the folder, in the order of their paths.
// The logs, which workers write beside the app's files, count when the folder is the output folder itself.
func (c *collector) digestFolder(rel, clean string, fail func(rule, mend, what string, args ...any) error) error {
	f, err := c.root.Open(rel)
	if err != nil {
		return task.Errorf(task.ReasonEngine, "%s cannot be read: %w", clean, err)
	}
	entries, err := f.ReadDir(-1)
	f.Close()
	if err != nil {
		return task.Errorf(task.ReasonEngine, "%s cannot be read: %w", clean, err)
	}
	open := map[string]func() (io.ReadCloser, error){}
	var names []string
	for _, e := range entries {
		switch {
		case e.Type()&os.ModeSymlink != 0:
			c.refuseLink(path.Join(clean, e.Name()))
			return nil
		case e.IsDir():
			c.warn("%s is not covered by the digest: only files directly in %s are", path.Join(clean, e.Name()), clean)
			continue
		}
		names = append(names, e.Name())
		open[e.Name()] = func() (io.ReadCloser, error) { return c.root.Open(path.Join(rel, e.Name())) }
	}
	if rel == "." {
		c.warn("fragile: the digest covers %s itself, so computed.json and the log are part of it", folderOut)
		for name, log := range map[string]string{outputStdout: c.left.Stdout, outputStderr: c.left.Stderr} {
			if !holdsAnything(log) || c.left.Exit.Code != 0 {
				continue
			}
			if open[name] == nil {
				names = append(names, name)
			}
			open[name] = func() (io.ReadCloser, error) { return os.Open(log) }
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
	var sums [][]byte
	for _, name := range names {
		d, err := sumOf(open[name])
		if err != nil {
			return task.Errorf(task.ReasonEngine, "%s cannot be read: %w", path.Join(clean, name), err)
		}
		sums = append(sums, d)
	}
	c.Digest, c.DigestRule = hex.EncodeToString(keccak256(sums...)), fmt.Sprintf("computed.json: keccak256 over the sha256 of the %d files of %s", len(names), clean)
	if len(names) == 0 {
		c.warn("the digest covers nothing: no file lies directly in %s", clean)
		return nil
	}
	c.note("deterministic: the files of %s are %s", clean, shorten(strings.Join(names, ", ")))
	return nil
}
