package contract

import (
	"io"
	"io/fs"
	"os"
	"path"

	"longshore/internal/task"
)

// ResultFiles are the files of a finished run, which may be a stranger's: links and special files may be among them, and what
// they say of themselves may be wrong.
type ResultFiles struct {
	// FS is the folder that "run -o" made, a folder as the platform leaves it, or the content of the platform's archive.
	FS fs.FS
	// Result is the content of result.json, nil when there is none.
	Result *task.Result
	// Archive is the file on this machine whose content FS shows, empty for folders.
	Archive string
}

// ResultDigest is a digest that was computed from files, never taken from what stands in result.json.
type ResultDigest struct {
	// Digest is in hexadecimal; empty when there is none, and Missing then says why.
	Digest, Rule string
	Missing      string
	// Folder is where the program's own files lie in FS, and Covered are those of them that the digest is of, relative to it.
	Folder  string
	Covered []string
	Notes   []string
}

// ResultDigester is the optional ability to compute the digest of a finished run again, for contracts that define one.
type ResultDigester interface {
	// RecogniseResult says by what files without a result.json look like a result of this contract's, and "" when they do not.
	RecogniseResult(r ResultFiles) (evidence string)
	// DigestResult computes the digest by the rule that holds for the files. An error says that they are no result, or cannot
	// be read.
	DigestResult(r ResultFiles) (ResultDigest, error)
}

// ResultPackager is the optional ability to pack the outputs of a run as the platform hands them out.
type ResultPackager interface {
	// PackResult writes the archive. Its bytes depend on the names and contents of the outputs only.
	PackResult(r ResultFiles, w io.Writer) (notes []string, err error)
}

// DeterminismJudge is the optional ability to say in the contract's own words what two runs of one example show. A run that
// failed is judged alone, as both of them; an empty Word then says that there is nothing to add.
type DeterminismJudge interface {
	JudgeRuns(a, b *task.Result) Verdict
}

// FailureExplainer is the optional ability to tell what the platform itself would make of a run that failed here.
type FailureExplainer interface {
	ExplainFailure(t *task.Task, f task.Failure) (notes []string)
}

// Folder shows a folder as a file system whose names may be of any bytes, as file names on disk are. No link leads out of Root.
type Folder struct {
	Root *os.Root
	// Dir is the folder within Root, slash separated; empty for Root itself.
	Dir string
}

// Open implements fs.FS.
func (f Folder) Open(name string) (fs.File, error) { return f.Root.Open(path.Join(f.Dir, name)) }

// Stat implements fs.StatFS: nothing is opened, so that a named pipe cannot stop the reader.
func (f Folder) Stat(name string) (fs.FileInfo, error) { return f.Root.Stat(path.Join(f.Dir, name)) }

// Lstat implements fs.ReadLinkFS.
func (f Folder) Lstat(name string) (fs.FileInfo, error) { return f.Root.Lstat(path.Join(f.Dir, name)) }

// ReadLink implements fs.ReadLinkFS.
func (f Folder) ReadLink(name string) (string, error) {
	return f.Root.Readlink(path.Join(f.Dir, name))
}

// Sub implements fs.SubFS.
func (f Folder) Sub(dir string) (fs.FS, error) { return Folder{f.Root, path.Join(f.Dir, dir)}, nil }

var _ interface {
	fs.StatFS
	fs.SubFS
	fs.ReadLinkFS
} = Folder{}
