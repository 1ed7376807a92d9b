package config

import (
	"fmt"
	"strings"
)

// hidden stands for the value of a secret.
const hidden = "(hidden)"

// YAML is the configuration as a file, each setting with where it came from. Secrets are not in it.
func (l *Loaded) YAML() string {
	var b strings.Builder
	section := ""
	for _, s := range l.Settings() {
		name, indent := s.Key, ""
		if sec, rest, ok := strings.Cut(s.Key, "."); ok {
			if sec != section {
				fmt.Fprintf(&b, "%s:\n", sec)
			}
			section, name, indent = sec, rest, "  "
		} else {
			section = ""
		}
		from := l.From[s.Key]
		if from == "" {
			from = "default"
		}
		text := s.Value.String()
		if s.Secret && text != "" {
			text = hidden
		}
		if text == "" {
			fmt.Fprintf(&b, "%s# %s:  # %s\n", indent, name, from)
			continue
		}
		if s.Value.Type() == "list" && text != hidden {
			text = "[" + quoted(strings.Split(text, ",")) + "]"
		} else if text != hidden {
			text = plain(text)
		}
		fmt.Fprintf(&b, "%s%s: %s  # %s\n", indent, name, text, from)
	}
	return b.String()
}

// Values are the settings by key, for printing as JSON. Secrets are not in it.
func (l *Loaded) Values() map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, s := range l.Settings() {
		text, from := s.Value.String(), l.From[s.Key]
		if s.Secret && text != "" {
			text = hidden
		}
		if from == "" {
			from = "default"
		}
		all[s.Key] = map[string]string{"value": text, "from": from}
	}
	return all
}

// plain quotes a text where YAML would read something else.
func plain(s string) string {
	if strings.ContainsAny(s, ":#{}[],&*?|<>=!%@\\\"'`\n") {
		return quoted([]string{s})
	}
	return s
}

func quoted(list []string) string {
	var q []string
	for _, s := range list {
		q = append(q, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)+`"`)
	}
	return strings.Join(q, ", ")
}

// Table is the documented list of all settings, in Markdown.
func Table() string {
	c := Default()
	var b strings.Builder
	b.WriteString("| setting | flag | environment | default | what it is |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range c.Settings() {
		def := ""
		if v := s.Value.String(); v != "" {
			def = "`" + v + "`"
		}
		usage := strings.ReplaceAll(s.Usage, "|", `\|`)
		if s.Secret {
			usage += fmt.Sprintf(". Also as a file: `%s-file`", s.Key)
		}
		fmt.Fprintf(&b, "| `%s` | `--%s` | `%s` | %s | %s |\n", s.Key, s.Flag(), s.Env(), def, usage)
	}
	return b.String()
}

// Commented is a configuration file in which every setting is a comment, for people to start from.
func Commented() string {
	c := Default()
	var b strings.Builder
	b.WriteString("# How `longshore serve` is set up. Every setting is shown with what counts without it.\n# Environment variables (LONGSHORE_SERVE_…) and flags count more. `longshore serve --print-config` prints what counts.\n")
	for _, s := range c.Settings() {
		fmt.Fprintf(&b, "\n# %s.\n#%s: %s\n", s.Usage, s.Key, plain(s.Value.String()))
	}
	return b.String()
}
