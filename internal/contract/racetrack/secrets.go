package racetrack

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// secretProblem is what is wrong with one line of a secret file. It never shows a value.
type secretProblem struct {
	line       int
	what, mend string
}

// secretVariable is a variable of a secret file, with its line.
type secretVariable struct {
	task.EnvVar
	line int
}

// secretName is the name of a variable in a secret file.
var secretName = regexp.MustCompile(`^[^\s=:\x00-\x1f]+$`)

// otherReading tells what Racetrack's client, which reads the file with Python's ConfigParser, makes of a variable (reference
// 2.6); "" when it reads the same.
func otherReading(exported bool, value string) string {
	switch {
	case exported:
		return `Racetrack's client takes "export" for a part of the name`
	case percentReference.MatchString(value):
		return "Racetrack's client replaces %(NAME)s by another variable"
	case strings.Contains(strings.ReplaceAll(value, "%%", ""), "%"):
		return "Racetrack's client fails on a % that stands alone"
	case strings.Contains(value, "%%"):
		return "Racetrack's client takes %% for %"
	}
	return ""
}

var percentReference = regexp.MustCompile(`%\([^)]*\)s`)

// parseSecrets reads KEY=value or KEY: value lines (reference 2.6, 11.8): comments begin with # or ;, export is skipped, one
// pair of quotes around a value is taken off, and nothing is expanded. others are the lines that Racetrack's client reads
// otherwise.
func parseSecrets(data []byte) (vars []secretVariable, problems, others []secretProblem) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) {
		return nil, []secretProblem{{1, "the file is not UTF-8 text", "save it as UTF-8"}}, nil
	}
	first := map[string]int{}
	for i, raw := range strings.Split(string(data), "\n") {
		raw = strings.TrimSuffix(raw, "\r")
		line := strings.TrimSpace(raw)
		problem := func(what, mend string) { problems = append(problems, secretProblem{i + 1, what, mend}) }
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case raw[0] == ' ' || raw[0] == '\t':
			problem("an indented line", "write every variable at the beginning of a line, values on one line")
			continue
		case line[0] == '[':
			problem("a section", "remove the line: it hides everything after it from Racetrack")
			continue
		}
		rest, exported := strings.CutPrefix(line, "export ")
		if exported {
			line = strings.TrimLeft(rest, " \t")
		}
		at := strings.IndexAny(line, "=:")
		if at < 0 {
			problem("neither = nor : in it", "write KEY=value")
			continue
		}
		name, value := strings.TrimSpace(line[:at]), unquote(strings.TrimSpace(line[at+1:]))
		switch {
		case !secretName.MatchString(name):
			problem("not a variable's name before the = or :", "write KEY=value")
		case unusable(name, value) != "":
			problem(unusable(name, value), "mend the value")
		case first[name] > 0:
			problem(fmt.Sprintf("%s is given again, after line %d", name, first[name]), "keep one of them")
		default:
			first[name] = i + 1
			vars = append(vars, secretVariable{task.EnvVar{Name: name, Value: value}, i + 1})
			if what := otherReading(exported, value); what != "" {
				others = append(others, secretProblem{i + 1, what, "write the variable without it; here it is read as it stands"})
			}
		}
	}
	return vars, problems, others
}

func unquote(s string) string {
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		return s[1 : n-1]
	}
	return s
}

// secretFile is a file of secret variables that the manifest names.
type secretFile struct {
	// file is clean and lies in the manifest's folder; "" when there is none.
	file string
	vars []secretVariable
	// broken tells that some of its lines could not be read.
	broken bool
}

// secretFile reads secret_build_env_file or secret_runtime_env_file, which lie next to the manifest. A repository does not
// hold them, so there they may be missing.
func (l *loader) secretFile(root *contract.Node, field string) secretFile {
	file, n := l.text(root, field, "")
	if n == nil {
		return secretFile{}
	}
	clean, ok := below(file)
	if !ok || clean == "" {
		l.on(ruleSecretFile, n, `%s: "%s" leaves the package`, field, show(file)).Mend = "write a path below the manifest's folder"
		return secretFile{}
	}
	if !isFile(l.home.fs, clean) {
		add := l.on(ruleSecretFile, n, "secret env file doesn't exist: %s", show(file))
		add.Mend = "write it, with lines of KEY=value"
		if lost := contract.LostLink(l.home.fs, clean); lost != nil {
			add.Why, add.Mend = show(lost.Error()), "put the file itself there"
		}
		if l.git && l.home == l.pkg {
			add.Severity = task.SeverityWarning
			add.Why = "secrets are not in the repository"
			add.Mend = "hand over the manifest with the file beside it, or give the variables to the run with --env"
		}
		return secretFile{}
	}
	data, err := contract.ReadText(l.home.fs, clean)
	if err != nil {
		l.on(ruleSecretForm, n, "%s: %s", field, show(err.Error()))
		return secretFile{}
	}
	vars, problems, others := parseSecrets(data)
	for _, p := range problems {
		l.found(ruleSecretForm, clean, contract.At{Line: p.line}, "line %d: %s", p.line, p.what).Mend = p.mend
	}
	for _, p := range others {
		l.found(ruleSecretReader, clean, contract.At{Line: p.line}, "line %d: %s", p.line, p.what).Mend = p.mend
	}
	l.note("secrets: %d variables from %s", len(vars), show(clean))
	return secretFile{clean, vars, len(problems) > 0}
}

// secrets notes the place of the secret variables of the job.
func (l *loader) secrets(d *detail) {
	s := l.m.runSecrets
	var taken []string
	var first contract.At
	for _, v := range s.vars {
		if contains(reservedNames(l.legacy), v.Name) {
			if len(taken) == 0 {
				first.Line = v.line
			}
			taken = append(taken, v.Name)
		}
	}
	if len(taken) > 0 {
		l.found(ruleReserved, s.file, first, "%s", conflict(taken)).Mend = "rename the variables"
	}
	if s.file != "" && !s.broken && l.home.dir != "" {
		d.SecretFile, d.SecretDir = s.file, l.home.dir
	}
}

// buildSecretID is the id that every build of a job finds its secret variables under (reference 6.5).
const buildSecretID = "build_secrets"

// buildSecrets are the variables for RUN --mount=type=secret,id=build_secrets, as lines of KEY="value"; without any, the
// file is empty.
func (l *loader) buildSecrets() task.BuildSecrets {
	var lines strings.Builder
	s := task.BuildSecrets{Values: map[string]string{}}
	for _, v := range l.m.buildSecrets.vars {
		fmt.Fprintf(&lines, "%s=\"%s\"\n", v.Name, v.Value)
		s.Values[v.Name] = v.Value
	}
	s.Files = map[string]string{buildSecretID: lines.String()}
	return s
}

// readSecrets reads the secret variables of a task when it is run. The file may have changed or gone since the task was
// loaded; links out of the package are not followed.
func readSecrets(d detail) ([]task.EnvVar, error) {
	if d.SecretFile == "" {
		return nil, nil
	}
	fail := func(err error) error {
		return task.Errorf(task.ReasonInput, "secret env file %s cannot be read: %w", d.SecretFile, err).
			WithHint("it must still lie where it was when the package was loaded")
	}
	root, err := os.OpenRoot(d.SecretDir)
	if err != nil {
		return nil, fail(err)
	}
	defer root.Close()
	if !isFile(root.FS(), d.SecretFile) {
		return nil, fail(&fs.PathError{Op: "open", Path: filepath.Join(d.SecretDir, d.SecretFile), Err: fs.ErrNotExist})
	}
	data, err := contract.ReadText(root.FS(), d.SecretFile)
	if err != nil {
		return nil, fail(err)
	}
	list, problems, _ := parseSecrets(data)
	if len(problems) > 0 {
		return nil, fail(fmt.Errorf("line %d: %s", problems[0].line, problems[0].what))
	}
	var vars []task.EnvVar
	for _, v := range list {
		vars = append(vars, v.EnvVar)
	}
	return vars, nil
}
