package iexec

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// The files that hold, or lead to, the digest from v3 on.
const (
	computedFile    = "computed.json"
	determinismFile = "determinism.iexec"
	callbackFile    = "callback.iexec"
)

// maxName is the length of a result file's name in UTF-16 code units, beyond which iExec drops the whole result.
const maxName = 31

// checkNames looks at the names of everything that is uploaded.
func (d *digester) checkNames(entries []entry) {
	for _, e := range entries {
		name := path.Base(e.path)
		switch n := len(utf16.Encode([]rune(name))); {
		case e.mode.IsDir() || n <= maxName:
		case d.longNames:
			d.warn("result file name %s has %d characters, iExec refuses more than %d", name, n, maxName)
		default:
			d.problems.add(ruleLongName, contract.At{}, "give it a shorter name, or allow it with the variant long-names", "result file name %s has %d characters, iExec refuses more than %d", name, n, maxName)
		}
		if e.mode&fs.ModeSymlink != 0 {
			d.warn("%s is a link: iExec's upload would leave it empty", path.Join(folderOut, e.path))
		}
	}
}

// later is the digest from v3 on: by computed.json, determinism.iexec or consensus.iexec.
func (d *digester) later() error {
	data, found, err := d.small(computedFile)
	if found {
		return d.computed(data, err)
	}
	for _, name := range []string{determinismFile, consensusFile} {
		if d.linkInside(name) {
			d.refuseLink(path.Join(folderOut, name))
			return nil
		}
	}
	if _, ok := d.regular(determinismFile); ok {
		return d.determinism()
	}
	if _, ok := d.regular(consensusFile); ok {
		sum, err := d.fileSum(consensusFile)
		if err != nil {
			return err
		}
		d.foundFile(consensusFile, sum, "consensus.iexec: sha256 of the file")
		d.warn("consensus.iexec is the file of v2; workers from v5 on read computed.json")
		return nil
	}
	if d.archive {
		return d.wholeArchive()
	}
	f := d.problems.add(ruleNoDigest, contract.At{}, `write {"deterministic-output-path": "/iexec_out/<file>"} into $IEXEC_OUT/computed.json`, "computed.json is missing from IEXEC_OUT")
	f.Why = "without it iExec has no digest and could not contribute"
	return nil
}

// wholeArchive is the digest of v3 and v4 without a determinism file.
func (d *digester) wholeArchive() error {
	entries, err := d.walk()
	if err != nil {
		return task.Errorf(task.ReasonEngine, "the result cannot be read: %w", err)
	}
	members, skipped := d.members(entries)
	d.warn("there is no %s: workers of v3 and v4 would compare archives, which differ between them", determinismFile)
	d.warnings = append(d.warnings, skipped...)
	_, err = d.packed(members)
	return err
}

var hex32 = regexp.MustCompile(`^(0x)?[0-9a-fA-F]{64}$`)

// determinism is the digest that determinism.iexec stands for: 32 bytes in hexadecimal are the digest itself, anything
// else is hashed as it is, or, when asked for, as the bytes that a worker's lenient decoder makes of it.
func (d *digester) determinism() error {
	d.callbackNote()
	data, _, err := d.small(determinismFile)
	if err != nil { // too large to be decoded
		sum, err := d.fileSum(determinismFile)
		d.foundFile(determinismFile, sum, "determinism.iexec: sha256 of the file")
		return err
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch decoded := lenientHex(text); {
	case hex32.MatchString(text):
		d.foundFile(determinismFile, decoded, "determinism.iexec: the 32 bytes it holds")
	case d.lenient && len(decoded) == sha256.Size:
		d.foundFile(determinismFile, decoded, "determinism.iexec: the 32 bytes of it, by the "+ruleTextLenient)
	case d.lenient:
		sum := sha256.Sum256(decoded)
		d.foundFile(determinismFile, sum[:], "determinism.iexec: sha256 of its bytes, by the "+ruleTextLenient)
	default:
		sum := sha256.Sum256(data)
		d.foundFile(determinismFile, sum[:], "determinism.iexec: sha256 of the file")
	}
	return nil
}

// callbackNote shows the callback of v3 and v4, when it is hexadecimal text.
func (d *digester) callbackNote() {
	data, found, err := d.small(callbackFile)
	if !found || err != nil {
		return
	}
	if text := strings.TrimSpace(string(data)); isHex(text) {
		d.note("callback: 0x%s", shorten(hex.EncodeToString(lenientHex(text))))
	} else {
		d.warn("callback.iexec is not hexadecimal text: there is no callback")
	}
}

// The members of computed.json. All are texts.
const (
	computedPath     = "deterministic-output-path"
	computedCallback = "callback-data"
	computedError    = "error-message"
	computedDigest   = "result-digest"
)

// wrong reports what keeps computed.json from leading to a digest.
func (d *digester) wrong(rule, mend, what string, args ...any) error {
	d.problems.add(rule, contract.At{}, mend, what, args...).File = computedFile
	return nil
}

// computed follows computed.json.
func (d *digester) computed(data []byte, err error) error {
	if err != nil {
		return d.wrong(ruleComputed, "", "computed.json cannot be read: %v", err)
	}
	n, err := contract.ParseJSON(data)
	switch {
	case err != nil:
		return d.wrong(ruleComputed, "write one JSON object", "computed.json is not valid JSON: %v", err)
	case n.Kind != contract.NodeObject:
		return d.wrong(ruleComputed, "write an object", "computed.json is a %s, must be an object", n.Kind)
	}
	for _, m := range n.Members {
		switch m.Key {
		case computedPath, computedCallback, computedError, computedDigest, "task-id", "enclave-signature":
			if !m.Value.IsNull() && !m.Value.Is(contract.NodeString) {
				return d.wrong(ruleComputed, "put it in quotes", "%s in computed.json is a %s, must be a string", m.Key, m.Value.Kind)
			}
		}
	}
	if n.Get(computedDigest).Str() != "" {
		d.warn("computed.json holds a result-digest: it is not trusted, and computed again")
	}
	if text := n.Get(computedError).Str(); text != "" {
		d.note("the app's error message: %s", shorten(text))
	}
	if d.callback {
		return d.callbackData(n.Get(computedCallback).Str())
	}
	if n.Get(computedCallback).Str() != "" {
		d.note("callback-data is not used: the request has no callback")
	}
	return d.deterministicPath(n.Get(computedPath).Str())
}

// callbackData digests the bytes that the deal's callback gets. Workers decode any text; what is no hexadecimal would reach
// the callback as other bytes than were meant.
func (d *digester) callbackData(text string) error {
	rule := ruleTextCallback
	switch {
	case text == "":
		return d.wrong(ruleCallback, `write "callback-data": "0x…"`, `the deal has a callback but computed.json has no "callback-data"`)
	case !isHex(text) && !d.lenient:
		return d.wrong(ruleCallback, "write 0x and hexadecimal digits", "callback-data in computed.json is not hexadecimal: %s", shorten(text))
	case !isHex(text):
		rule += ", by the " + ruleTextLenient
		d.warn("callback-data is not hexadecimal: it is decoded as workers do, and the callback gets other bytes than were meant")
	case len(strings.TrimPrefix(text, "0x"))%2 == 1:
		d.warn("callback-data has an odd number of digits: workers take the first digit for a byte of its own")
	}
	d.found(keccak256(lenientHex(text)), []string{computedFile}, "%s", rule)
	return nil
}

// Parts of rules by which DigestResult goes on: that of deals with a callback, and that text was decoded as workers do.
const (
	ruleTextCallback = "computed.json: keccak256 of callback-data"
	ruleTextLenient  = "lenient decoder of workers"
)

// deterministicPath digests the file or folder that computed.json names.
func (d *digester) deterministicPath(written string) error {
	clean := path.Clean(written)
	rel, inside := strings.CutPrefix(clean+"/", folderOut+"/")
	rel = strings.TrimSuffix(rel, "/")
	switch {
	case written == "":
		return d.wrong(ruleDeterministic, `write "deterministic-output-path": "/iexec_out/<file>"`, "computed.json has no deterministic-output-path")
	case !inside || strings.ContainsRune(written, 0):
		return d.wrong(ruleDeterministic, "name something below "+folderOut, "deterministic-output-path %q is not inside %s", shorten(written), folderOut)
	case rel == "":
		rel = "."
	}
	st, err := fs.Lstat(d.files, rel)
	switch log := d.logs[rel]; {
	case log != nil && (err != nil || d.logsOver):
		return d.log(rel, clean, log)
	case err != nil:
		return d.wrong(ruleDeterministic, "write the file before computed.json names it", "deterministic-output-path %q does not exist", shorten(written))
	case d.linkInside(rel):
		d.refuseLink(clean)
		return nil
	case st.IsDir():
		return d.folder(rel, clean)
	case !st.Mode().IsRegular():
		return d.wrong(ruleDeterministic, "name a file or folder", "deterministic-output-path %q is a %s", shorten(written), contract.KindOf(st.Mode()))
	}
	sum, err := d.fileSum(rel)
	if err != nil {
		return err
	}
	if rel == outputStdout || rel == outputStderr {
		d.warn("fragile: the log is part of the digest")
	}
	d.foundFile(rel, sum, "computed.json: sha256 of %s", clean)
	return nil
}

// log digests a log that the app declared deterministic: workers write it beside the app's files before they digest them.
func (d *digester) log(name, clean string, open opener) error {
	sum, err := sumOf(open)
	if err != nil {
		return task.Errorf(task.ReasonEngine, "%s cannot be read: %w", clean, err)
	}
	d.warn("fragile: the log is part of the digest")
	d.foundFile(name, sum, "computed.json: sha256 of %s", clean)
	return nil
}

// folder is keccak256 over the sha256 of each file that lies directly in the folder, in the order of their paths. The logs,
// which workers write beside the app's files, count when the folder is the output folder itself.
func (d *digester) folder(rel, clean string) error {
	entries, err := fs.ReadDir(d.files, rel)
	if err != nil {
		return task.Errorf(task.ReasonEngine, "%s cannot be read: %w", clean, err)
	}
	content := map[string]opener{}
	for _, e := range entries {
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			d.refuseLink(path.Join(clean, e.Name()))
			return nil
		case e.IsDir():
			d.warn("%s is not covered by the digest: only files directly in %s are", path.Join(clean, e.Name()), clean)
		case e.Type().IsRegular():
			content[e.Name()] = d.file(path.Join(rel, e.Name()))
		}
	}
	if rel == "." {
		d.warn("fragile: the digest covers %s itself, so computed.json and the log are part of it", folderOut)
		maps.Copy(content, d.logs)
	}
	names := slices.Collect(maps.Keys(content))
	inPathOrder(names)
	var sums [][]byte
	var covered []string
	for _, name := range names {
		sum, err := sumOf(content[name])
		if err != nil {
			return task.Errorf(task.ReasonEngine, "%s cannot be read: %w", path.Join(clean, name), err)
		}
		sums, covered = append(sums, sum), append(covered, path.Join(rel, name))
	}
	d.found(keccak256(sums...), covered, "computed.json: keccak256 over the sha256 of the %d files of %s", len(names), clean)
	if len(names) == 0 {
		d.warn("the digest covers nothing: no file lies directly in %s", clean)
		return nil
	}
	d.note("deterministic: the files of %s are %s", clean, shorten(strings.Join(names, ", ")))
	return nil
}
