package durable

import (
	"errors"
	"io/fs"
	"testing"

	"longshore/internal/task"
)

func TestOutward(t *testing.T) {
	o := newOutward([]string{"/var/lib/longshore", "/data/blobs/"})
	for _, c := range []struct{ in, want string }{
		{"/var/lib/longshore/server/packages/86e7.tar.b5/knn looks like no package", "knn looks like no package"},
		{"/var/lib/longshore/server/packages/86e7.file.b5/b.zip: image.tar, layer 1", "b.zip: image.tar, layer 1"},
		{"copying /var/lib/longshore/server/jobs/01a1.1/inputs/0/a.csv failed", "copying a.csv failed"},
		{"/var/lib/longshore/runs/01a1/outputs/x and /data/blobs/blobs/ab/abcd", "outputs/x and blobs/ab/abcd"},
		{"open /var/lib/longshore/server/longshore.db", "open longshore.db"},
		{"/var/lib/longshoreman/x, /inputs/var/lib and /data/blob", "/var/lib/longshoreman/x, /inputs/var/lib and /data/blob"},
	} {
		if got := o.text(c.in); got != c.want {
			t.Errorf("%q became %q, want %q", c.in, got, c.want)
		}
	}
}

func TestOutwardErrorsStayWhatTheyAre(t *testing.T) {
	o := newOutward([]string{"/home"})
	below := &fs.PathError{Op: "open", Path: "/home/server/packages/1.tar.2/p/f", Err: fs.ErrNotExist}
	for _, err := range []error{
		below,
		&task.Error{Code: task.CodePackage, Message: "/home/server/packages/1.tar.2/p is wrong", Hint: "mend /home/x", Cause: below, Findings: []task.Finding{{What: "in /home/y"}}},
	} {
		got := o.error(err)
		if !errors.Is(got, fs.ErrNotExist) || task.CodeOf(got) != task.CodeOf(err) {
			t.Errorf("%v is another error than %v", got, err)
		}
		if o.way.MatchString(got.Error()) {
			t.Errorf("it tells of the server's folders: %v", got)
		}
		if e, ok := errors.AsType[*task.Error](got); ok && (e.Hint != "mend x" || e.Findings[0].What != "in y") {
			t.Errorf("hint %q, findings %v", e.Hint, e.Findings)
		}
	}
	if plain := (&reworded{"x", fs.ErrExist}); o.error(plain) != error(plain) {
		t.Error("an error that tells nothing was changed")
	}
	if (outward{}).text("/home/x") != "/home/x" || o.error(nil) != nil {
		t.Error("nothing was to be hidden")
	}
}

func TestOutwardResults(t *testing.T) {
	o := newOutward([]string{"/home"})
	r := &task.Result{
		Failure:  &task.Failure{Message: "open /home/server/jobs/1.1/x", LogTail: "/home/me", Findings: []task.Finding{{What: "/home/z", File: "f"}}},
		Warnings: []string{"see /home/w"}, Notes: []string{"image: /home/n"},
	}
	got := o.result(r)
	if got.Failure.Message != "open x" || got.Failure.LogTail != "/home/me" || got.Failure.Findings[0].What != "z" || got.Warnings[0] != "see w" || got.Notes[0] != "image: n" {
		t.Errorf("told: %+v %+v", got, got.Failure)
	}
	if r.Failure.Message != "open /home/server/jobs/1.1/x" {
		t.Error("the result itself was changed")
	}
}
