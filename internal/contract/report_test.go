package contract_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Of many findings of one rule and severity a hundred are listed, and one more counts the others; those of other rules stand
// beside them, so that no verdict changes.
func TestReportManyAlike(t *testing.T) {
	r := contract.Report{File: "f"}
	for i := range 5000 {
		r.Warn("often", contract.At{Line: i + 1, Column: 1}, "mend it", "number %d", i)
		r.Note("often", contract.At{}, "a note")
	}
	r.Error("once", contract.At{Line: 9}, "mend it", "an error")
	counts := map[task.Severity]int{}
	for _, f := range r.Findings {
		counts[f.Severity]++
	}
	if counts[task.SeverityWarning] != 101 || counts[task.SeverityNote] != 101 || counts[task.SeverityError] != 1 {
		t.Fatalf("%v", counts)
	}
	var last task.Finding
	for _, f := range r.Findings {
		if f.Severity == task.SeverityWarning {
			last = f
		}
	}
	if last.What != "there are 4900 more findings of this rule, from here on, which are not listed" || last.Position() != "f:101:1" || last.Mend == "" {
		t.Errorf("%+v", last)
	}
}

// A name as long as the document does not fill the screen.
func TestReportLongTexts(t *testing.T) {
	r := contract.Report{}
	long := strings.Repeat("é", 500_000)
	r.Error("x", contract.At{}, "write "+long, "`%s` is wrong", long)
	if f := r.Findings[0]; len(f.What) > 2100 || !strings.HasSuffix(f.What, " more bytes)") || len(f.Mend) > 2100 {
		t.Errorf("%d and %d bytes: …%s", len(f.What), len(f.Mend), f.What[len(f.What)-40:])
	}
	if near := contract.Nearest(long, []string{long + "e", "name"}); near != "" {
		t.Errorf("%d bytes are a slip of %d", len(long), len(near))
	}
	if near := contract.Nearest("descripton", []string{"name", "description"}); near != "description" {
		t.Errorf("%q", near)
	}
}

// damaged is a file system of one file whose content cannot be read, as in an archive with flipped bits.
type damaged struct{ fstest.MapFS }

func (damaged) ReadFile(string) ([]byte, error) { return nil, errDamaged }

var errDamaged = &contract.SyntaxError{Reason: "checksum error"}

func TestReadTextNamesTheFile(t *testing.T) {
	_, err := contract.ReadText(damaged{fstest.MapFS{"a.json": {Data: []byte("{}")}}}, "a.json")
	if err == nil || !strings.HasPrefix(err.Error(), "a.json cannot be read: ") {
		t.Error(err)
	}
}
