package cli

import (
	"net/url"
	"path/filepath"
	"strings"

	"longshore/internal/app"
	"longshore/internal/contract"
	"longshore/internal/task"
)

// The parts of SARIF 2.1.0 (OASIS standard, sections 3.13 to 3.52) that findings need.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool                `json:"tool"`
		Invocations []sarifInvocation        `json:"invocations"`
		Bases       map[string]sarifArtifact `json:"originalUriBaseIds"`
		ColumnKind  string                   `json:"columnKind"`
		Results     []sarifResult            `json:"results"`
		Properties  map[string]any           `json:"properties"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID      string      `json:"id"`
		Short   sarifText   `json:"shortDescription"`
		Help    sarifText   `json:"help"`
		Default sarifConfig `json:"defaultConfiguration"`
	}
	sarifConfig struct {
		Level task.Severity `json:"level"`
	}
	sarifInvocation struct {
		Successful bool `json:"executionSuccessful"`
		ExitCode   int  `json:"exitCode"`
	}
	sarifResult struct {
		RuleID     string            `json:"ruleId"`
		RuleIndex  int               `json:"ruleIndex"`
		Level      task.Severity     `json:"level"`
		Message    sarifText         `json:"message"`
		Locations  []sarifLocation   `json:"locations,omitempty"`
		Properties map[string]string `json:"properties,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI         string     `json:"uri,omitempty"`
		Base        string     `json:"uriBaseId,omitempty"`
		Description *sarifText `json:"description,omitempty"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
)

// sarifBase names the package's root, which files of findings are relative to.
const sarifBase = "PACKAGE"

// sarif describes the findings of a package. The levels of SARIF are called as our severities are. exit is the command's
// exit code; fixes stand in the message, since they are words, not edits.
func sarif(p *app.Package, exit int) sarifLog {
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "longshore", Version: Version, Rules: sarifRules(p)}},
		Invocations: []sarifInvocation{{Successful: true, ExitCode: exit}},
		Bases:       map[string]sarifArtifact{sarifBase: packageRoot(p.Source)},
		ColumnKind:  "unicodeCodePoints",
		Results:     []sarifResult{},
		Properties:  map[string]any{"package": p.Source.Given, "contract": p.Contract.Name(), "evidence": p.Evidence, "valid": exit == 0},
	}
	index := map[string]int{}
	for i, r := range run.Tool.Driver.Rules {
		index[r.ID] = i
	}
	for _, f := range p.Findings {
		run.Results = append(run.Results, sarifFinding(f, index[f.Rule]))
	}
	return sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
}

// sarifRules are the contract's rules, and those that findings name beyond them.
func sarifRules(p *app.Package) []sarifRule {
	var rules []contract.Rule
	if l, ok := p.Contract.(contract.RuleLister); ok {
		rules = l.Rules()
	}
	known := map[string]bool{}
	for _, r := range rules {
		known[r.ID] = true
	}
	for _, f := range p.Findings {
		if !known[f.Rule] {
			known[f.Rule] = true
			rules = append(rules, contract.Rule{ID: f.Rule, Severity: f.Severity, Summary: f.What})
		}
	}
	help := sarifText{"`longshore validate --list-rules " + p.Contract.Name() + "` lists the rules; each result says how to mend it."}
	out := []sarifRule{}
	for _, r := range rules {
		out = append(out, sarifRule{ID: r.ID, Short: sarifText{r.Summary}, Help: help, Default: sarifConfig{r.Severity}})
	}
	return out
}

func sarifFinding(f task.Finding, rule int) sarifResult {
	r := sarifResult{RuleID: f.Rule, RuleIndex: rule, Level: f.Severity, Message: sarifText{findingText(f)}}
	for key, text := range map[string]string{"why": f.Why, "mend": f.Mend} {
		if text == "" {
			continue
		}
		if r.Properties == nil {
			r.Properties = map[string]string{}
		}
		r.Properties[key] = text
	}
	if f.File == "" {
		return r
	}
	at := sarifPhysical{Artifact: sarifArtifact{URI: (&url.URL{Path: filepath.ToSlash(f.File)}).String(), Base: sarifBase}}
	if f.Line > 0 {
		at.Region = &sarifRegion{StartLine: f.Line, StartColumn: f.Column}
	}
	r.Locations = []sarifLocation{{at}}
	return r
}

// findingText is a finding in sentences.
func findingText(f task.Finding) string {
	text := f.What
	if f.Why != "" {
		text += " (" + f.Why + ")"
	}
	if f.Mend != "" {
		text = strings.TrimSuffix(text, ".") + ". To mend it: " + f.Mend
	}
	return text
}

// packageRoot is where a package lies: a folder's address, and for what is no folder of this machine only words.
func packageRoot(src contract.Source) sarifArtifact {
	root := sarifArtifact{Description: &sarifText{"the root of the package " + src.Given}}
	if src.Dir != "" && !src.Git {
		root.URI = (&url.URL{Scheme: "file", Path: strings.TrimSuffix(filepath.ToSlash(src.Dir), "/") + "/"}).String()
	}
	return root
}
