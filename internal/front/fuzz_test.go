package front_test

import (
	"os"
	"path/filepath"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/front"
	"longshore/internal/task"
)

// FuzzBody holds that no request's body is anything else than inputs or a reason, and that none writes outside its folder.
func FuzzBody(f *testing.F) {
	f.Add("application/json", []byte(`{"flag": true, "list": [1], "blob": {"base64": "AA=="}, "tree": {"a/b": "c"}, "blobs": ["x"]}`))
	f.Add("application/json", []byte(`{"tree": {"../x": "1"}}`))
	f.Add("multipart/form-data; boundary=b", []byte("--b\r\nContent-Disposition: form-data; name=\"tree\"; filename=\"../x\"\r\n\r\nx\r\n--b--\r\n"))
	slots := contract.Front{Inputs: slotsFor(task.PlaceBodyMember, "")}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "inputs")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := front.ReadBody(slots, contentType, body, dir)
		if list, lerr := os.ReadDir(parent); lerr != nil || len(list) != 1 {
			t.Errorf("something was written outside: %v, %v (%v)", list, lerr, err)
		}
	})
}
