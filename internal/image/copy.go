package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/patternmatcher"
)

// copyPlan is one COPY or ADD with everything looked up: what is read, and where it goes.
type copyPlan struct {
	tree  tree
	dest  string // absolute; ends with a slash when it must be a folder
	owner owner
	chown bool // the instruction names the owner
	mode  *modeChange
	// sources are in the instruction's order.
	sources []copySource
	// contents are written out in the instruction itself.
	contents []instructions.SourceContent
	// linked tells where the first of several names of a file was written, by the number of the file.
	linked map[uint64]string
}

// copySource is one source with all that is below it.
type copySource struct {
	top *item
	// under is the folder below the destination that it goes to, with --parents.
	under string
	files []copyFile
	// archive tells that ADD unpacks it.
	archive bool
	name    string // what it is called in a folder; empty for the last part of its path
}

// copyFile is a file, folder, link or FIFO: rel is its path below the source, "." for the source itself.
type copyFile struct {
	rel string
	*item
}

func (b *builder) copy(ctx context.Context, st *state, c *instructions.CopyCommand) error {
	t, err := b.copyTree(ctx, st, c.From)
	if err != nil {
		return err
	}
	p := &copyPlan{tree: t, dest: st.absolute(c.DestPath), contents: c.SourceContents}
	if err := b.ownership(st, p, c.Chown, c.Chmod); err != nil {
		return err
	}
	if err := p.gather(c.SourcePaths, c.ExcludePatterns, c.Parents); err != nil {
		return err
	}
	in := inputs{{"chain", st.chain()}, {"instruction", copyText("COPY", c.SourcesAndDest, p.dest, c.Chown, c.Chmod, c.Parents)}}
	return b.copyStep(ctx, st, c, c.String(), in, p)
}

func copyText(name string, s instructions.SourcesAndDest, dest, chown, chmod string, parents bool) string {
	text := name
	if chown != "" {
		text += " --chown=" + chown
	}
	if chmod != "" {
		text += " --chmod=" + chmod
	}
	if parents {
		text += " --parents"
	}
	for _, p := range s.SourcePaths {
		text += " " + p
	}
	for _, p := range s.SourceContents {
		text += " <<" + p.Path
	}
	return text + " " + dest
}

// copyStep adds the contents to the inputs and runs or answers the step.
func (b *builder) copyStep(ctx context.Context, st *state, c instructions.Command, text string, in inputs, p *copyPlan) error {
	in = append(in, input{"owner", fmt.Sprint(p.owner)})
	files, err := b.hashSources(ctx, p)
	if err != nil {
		return err
	}
	in = append(in, files...)
	for _, content := range p.contents {
		in = append(in, input{inputFile + "<<" + content.Path, string(digestOf([]byte(content.Data)))})
	}
	return b.cachedStep(ctx, st, c, text, in, func(u *upper) error { return b.place(ctx, u, p) })
}

// copyTree finds what --from names: a stage, a named context, or an image.
func (b *builder) copyTree(ctx context.Context, st *state, from string) (tree, error) {
	if from == "" {
		if b.context == nil {
			return &emptyTree{}, nil
		}
		return b.context, nil
	}
	if t, ok := b.named[from]; ok {
		return t, nil
	}
	if i, ok := b.plan.stageIndex(from, st.index); ok {
		other, err := b.stage(ctx, i)
		if err != nil {
			return nil, err
		}
		dirs, err := b.dirs(other)
		if err != nil {
			return nil, err
		}
		return &viewTree{view: b.store.view(dirs), name: "stage " + from}, nil
	}
	if strings.EqualFold(from, b.plan.stages[st.index].Name) || isNumber(from) {
		return nil, &Error{Kind: KindNotFound, What: "--from=" + from, Why: "not a stage before this one"}
	}
	if from == scratchImage {
		return &emptyTree{}, nil
	}
	img, err := b.baseImage(ctx, from)
	if err != nil {
		return nil, b.perhapsStage(from, st.index, err)
	}
	dirs, err := img.Layers(ctx)
	if err != nil {
		return nil, err
	}
	return &viewTree{view: b.store.view(dirs), name: "image " + from}, nil
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// emptyTree is the context of a build without one. Only heredocs and URLs can be copied then.
type emptyTree struct{ viewTree }

func (emptyTree) lookup(string, bool) (*item, error) { return nil, fs.ErrNotExist }

func (emptyTree) what() string { return "build context, because there is none" }

// ownership reads --chown and --chmod. Names are those of the stage.
func (b *builder) ownership(st *state, p *copyPlan, chown, chmod string) error {
	if chmod != "" {
		m, err := parseMode(chmod)
		if err != nil {
			return err
		}
		p.mode = m
	}
	if chown == "" {
		p.owner = owner{set: !p.tree.owned()}
		return nil
	}
	dirs, err := b.dirs(st)
	if err != nil {
		return err
	}
	p.owner, err = lookupOwner(b.store.view(dirs), chown)
	p.chown = true
	return err
}

// gather finds the sources and all that lies below them.
func (p *copyPlan) gather(paths, exclude []string, parents bool) error {
	var matcher *patternmatcher.PatternMatcher
	if len(exclude) > 0 {
		m, err := patternmatcher.New(exclude)
		if err != nil {
			return &Error{Kind: KindInvalid, What: "--exclude", Err: err}
		}
		matcher = m
	}
	for _, src := range paths {
		found, under, err := p.find(src, parents)
		if err != nil {
			return err
		}
		for i, it := range found {
			s := copySource{top: it}
			if parents {
				s.under = under[i]
			} else {
				s.name = under[i]
			}
			if s.files, err = p.collect(it, matcher, s.under); err != nil {
				return err
			}
			p.sources = append(p.sources, s)
		}
	}
	return nil
}

// find lists what one source path names. As with BuildKit, ".." does not lead above the root, and a pattern may name nothing.
// With parents, the result also says where below the destination each goes; otherwise what each is called there, because a
// link's target goes by the link's name.
func (p *copyPlan) find(src string, parents bool) ([]*item, []string, error) {
	rel := strings.TrimLeft(path.Clean("/"+strings.ReplaceAll(src, "/./", "/")), "/")
	if rel == "" {
		rel = "."
	}
	var found []*item
	var err error
	if hasMeta(rel) {
		found, err = glob(p.tree, rel, parents)
	} else {
		var it *item
		it, err = p.tree.lookup(rel, true)
		found = []*item{it}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, p.notThere(src)
	case err == errExcluded:
		return nil, nil, &Error{Kind: KindNotFound, What: src, Why: "excluded by " + p.tree.(*hostTree).ignoreName, Hint: "add the line !" + rel + " to it"}
	case err != nil:
		return nil, nil, &Error{Kind: KindInvalid, What: src, Err: err}
	}
	if !parents {
		return p.followed(found, rel)
	}
	pivot := ""
	if i := strings.Index(src, "/./"); i >= 0 {
		pivot = strings.TrimLeft(path.Clean("/"+src[:i]), "/")
	}
	under := make([]string, len(found))
	for i, it := range found {
		under[i] = strings.TrimPrefix(strings.TrimPrefix(it.path, pivot), "/")
		if under[i] == "" {
			under[i] = "."
		}
	}
	return found, under, nil
}

// followed replaces links by what they lead to, as BuildKit does for sources, whether written out or matched by a
// pattern. The names are those of the links.
func (p *copyPlan) followed(found []*item, rel string) ([]*item, []string, error) {
	names := make([]string, len(found))
	for i, it := range found {
		if !hasMeta(rel) {
			names[i] = path.Base(rel)
			continue
		}
		names[i] = path.Base(it.path)
		if !it.isLink() {
			continue
		}
		target, err := p.tree.lookup(it.path, true)
		if err != nil {
			return nil, nil, &Error{Kind: KindInvalid, What: it.path, Why: "a symbolic link to " + it.link + ", which is not in the " + p.tree.what(), Hint: "remove the link, or copy the folder it is in", Err: err}
		}
		found[i] = target
	}
	return found, names, nil
}

func (p *copyPlan) notThere(src string) error {
	e := &Error{Kind: KindNotFound, What: src, Why: "not in the " + p.tree.what(), Err: fs.ErrNotExist}
	if best := suggest(p.tree, src); best != "" && best != src {
		e.Hint = "did you mean " + best + "?"
	}
	return e
}

// collect lists a source with all that is below it, folders before their entries. What is excluded is named as seen from the
// source, or from the context's root when the source keeps its parents: under is then its path.
func (p *copyPlan) collect(top *item, exclude *patternmatcher.PatternMatcher, under string) ([]copyFile, error) {
	var out []copyFile
	var walk func(it *item, rel string) (bool, error)
	walk = func(it *item, rel string) (bool, error) {
		if name := path.Join(under, rel); exclude != nil && name != "." {
			skip, err := exclude.MatchesOrParentMatches(name)
			if err != nil {
				return false, &Error{Kind: KindInvalid, What: "--exclude", Err: err}
			}
			if skip && !(it.isDir() && exclude.Exclusions()) {
				return false, nil
			}
		}
		switch {
		case it.isFile(), it.isLink(), it.isFIFO():
			out = append(out, copyFile{rel, it})
			return true, nil
		case it.isSocket():
			return false, nil // of a running program, as editors and git's file watcher leave them; layers cannot hold any
		case !it.isDir():
			return false, &Error{Kind: KindInvalid, What: it.path, Why: "a device, which cannot be copied", Hint: "remove it, or name it in .dockerignore"}
		}
		at := len(out)
		out = append(out, copyFile{rel, it})
		children, err := p.tree.children(it)
		if err != nil {
			return false, &Error{Kind: KindInvalid, What: it.path, Err: err}
		}
		any := false
		for _, c := range children {
			some, err := walk(c, path.Join(rel, path.Base(c.path)))
			if err != nil {
				return false, err
			}
			any = any || some
		}
		if it.hidden && !any {
			out = out[:at]
			return false, nil
		}
		return true, nil
	}
	rel := "."
	if !top.isDir() && exclude != nil && under == "" {
		rel = path.Base(top.path)
	}
	if _, err := walk(top, rel); err != nil {
		return nil, err
	}
	if !top.isDir() && len(out) == 1 {
		out[0].rel = "."
	}
	return out, nil
}

// hashSources describes what is copied: names, types, modes, contents; not times.
func (b *builder) hashSources(ctx context.Context, p *copyPlan) (inputs, error) {
	var in inputs
	for _, s := range p.sources {
		if s.name != "" && s.name != path.Base(s.top.path) {
			in = append(in, input{"name of " + s.top.path, s.name})
		}
		for _, f := range s.files {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			value := strconv.FormatUint(uint64(f.mode), 8)
			if p.tree.owned() {
				value += fmt.Sprintf(" %d:%d", f.uid, f.gid)
			}
			switch {
			case f.isFile():
				d, err := b.files.digest(p.tree, f.item)
				if err != nil {
					return nil, &Error{Kind: KindInvalid, What: f.path, Err: err}
				}
				value += " " + string(d)
			case f.isLink():
				value += " -> " + f.link
			}
			in = append(in, input{inputFile + f.path, value})
		}
	}
	return in, nil
}

// place puts the sources into the upper folder.
func (b *builder) place(ctx context.Context, u *upper, p *copyPlan) error {
	made := b.madeTime(time.Time{})
	isDir := strings.HasSuffix(p.dest, "/")
	dest := path.Clean(p.dest)
	if err := p.holdsAll(u, dest, isDir); err != nil {
		return err
	}
	for _, s := range p.sources {
		to, into := dest, isDir
		if s.under != "" {
			if err := u.makeDirs(dest, p.dirMode(), p.owner, made); err != nil {
				return err
			}
			if err := b.placeParents(u, p, s, dest, made); err != nil {
				return err
			}
			to, into = path.Join(dest, s.under), false
		}
		if err := b.placeSource(ctx, u, p, s, to, into, made); err != nil {
			return err
		}
	}
	for _, c := range p.contents {
		to, err := b.fileTarget(u, p, dest, isDir, c.Path, made)
		if err != nil {
			return err
		}
		mode := uint32(0o644)
		if p.mode != nil {
			mode = p.mode.apply(mode, false)
		}
		if err := u.makeFile(to, strings.NewReader(c.Data), mode, owner{uid: p.owner.uid, gid: p.owner.gid}, made); err != nil {
			return err
		}
	}
	return nil
}

// holdsAll refuses several sources for what becomes a file: each would replace the one before.
func (p *copyPlan) holdsAll(u *upper, dest string, isDir bool) error {
	several := len(p.sources)+len(p.contents) > 1
	if !several || isDir || len(p.sources) > 0 && (p.sources[0].top.isDir() || p.sources[0].under != "") {
		return nil
	}
	_, n, err := u.resolve(dest)
	if err != nil || n != nil && n.isDir() {
		return err
	}
	return &Error{Kind: KindInvalid, What: "destination " + p.dest, Why: "must be a folder, because there are several sources", Hint: "write " + p.dest + "/"}
}

// fileTarget decides where a file called name goes: into the destination if that is a folder, else there. Folders that
// are missing on the way are made.
func (b *builder) fileTarget(u *upper, p *copyPlan, dest string, isDir bool, name string, made time.Time) (string, error) {
	real, n, err := u.resolve(dest)
	if err != nil {
		return "", err
	}
	parents := owner{uid: p.owner.uid, gid: p.owner.gid}
	if isDir || (n != nil && n.isDir()) {
		if err := u.makeDirs(dest, p.dirMode(), parents, made); err != nil {
			return "", err
		}
		return path.Join(real, name), nil
	}
	return real, u.makeDirs(path.Dir(real), p.dirMode(), parents, made)
}

func (b *builder) placeSource(ctx context.Context, u *upper, p *copyPlan, s copySource, dest string, isDir bool, made time.Time) error {
	if s.archive {
		return b.placeArchive(ctx, u, p, s, dest, made)
	}
	p.linked = map[uint64]string{} // of this source only: another may replace what this one wrote
	if len(s.files) == 0 {
		return nil
	}
	if !s.top.isDir() {
		name := s.name
		if name == "" {
			name = path.Base(s.top.path)
		}
		to, err := b.fileTarget(u, p, dest, isDir, name, made)
		if err != nil {
			return err
		}
		return p.put(u, s.files[0].item, to, true)
	}
	real, n, err := u.resolve(dest)
	if err != nil {
		return err
	}
	if err := u.makeDirs(path.Dir(real), p.dirMode(), owner{uid: p.owner.uid, gid: p.owner.gid}, made); err != nil {
		return err
	}
	if n != nil && !n.isDir() {
		return &Error{Kind: KindInvalid, What: dest + " in the image", Why: "a file, which a folder cannot replace"}
	}
	// Folders of the image that are links to folders are gone into, so remember where each really lies.
	at := map[string]string{}
	for _, f := range s.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		target := real
		if f.rel != "." {
			target = path.Join(at[path.Dir(f.rel)], path.Base(f.rel))
		}
		if !f.isDir() {
			if err := p.put(u, f.item, target, true); err != nil {
				return err
			}
			continue
		}
		resolved, existing, err := u.resolve(target)
		if err != nil {
			return err
		}
		if existing == nil {
			resolved = target
		}
		at[f.rel] = resolved
		if f.rel == "." && existing == nil {
			// As BuildKit does: what is copied are the source's entries, so a new destination has nothing of the source's
			// own mode and owner. A context in a private folder (0700) makes no private folder in the image.
			if err := p.makeTop(u, resolved, f.modTime()); err != nil {
				return err
			}
			continue
		}
		if err := p.put(u, f.item, resolved, f.rel != "."); err != nil {
			return err
		}
	}
	return p.restoreTimes(u, s, at)
}

// makeTop makes the folder that a folder's entries are copied to.
func (p *copyPlan) makeTop(u *upper, to string, t time.Time) error {
	return u.makeDir(to, p.dirMode(), owner{uid: p.owner.uid, gid: p.owner.gid}, t)
}

// dirMode is the mode of folders that are made on the way to the destination: as BuildKit does, a number given with --chmod
// is theirs, too, changes are not.
func (p *copyPlan) dirMode() uint32 {
	if p.mode != nil && p.mode.set {
		return p.mode.bits & 0o777
	}
	return 0o755
}

// placeParents makes the folders above a source that --parents keeps, like those in the source.
func (b *builder) placeParents(u *upper, p *copyPlan, s copySource, dest string, made time.Time) error {
	dir := path.Dir(s.under)
	if dir == "." {
		return nil
	}
	base := strings.TrimSuffix(s.top.path, s.under)
	cur := ""
	for _, part := range strings.Split(dir, "/") {
		cur = path.Join(cur, part)
		it, err := p.tree.lookup(path.Join(base, cur), true)
		if err != nil {
			return u.makeDirs(path.Join(dest, dir), p.dirMode(), p.owner, made)
		}
		real, n, err := u.resolve(path.Join(dest, cur))
		if err != nil {
			return err
		}
		if n == nil {
			if err := p.put(u, it, real, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// put copies one file, folder, link or FIFO to a resolved path. A folder that is there already keeps its attributes unless
// overwrite says otherwise.
func (p *copyPlan) put(u *upper, it *item, to string, overwrite bool) error {
	o := owner{uid: it.uid, gid: it.gid}
	if p.owner.set {
		o = owner{uid: p.owner.uid, gid: p.owner.gid}
	}
	mode := it.mode & 0o7777
	if p.mode != nil {
		mode = p.mode.apply(mode, it.isDir())
	}
	switch {
	case it.isLink():
		return u.makeLink(to, it.link, o, it.modTime())
	case it.isDir():
		n, err := u.view.lookup(to, false)
		if errors.Is(err, fs.ErrNotExist) {
			return u.makeDir(to, mode, o, it.modTime())
		}
		if err != nil {
			return pathError(to, err)
		}
		if !n.isDir() {
			return &Error{Kind: KindInvalid, What: to + " in the image", Why: "a file, which a folder cannot replace"}
		}
		if !overwrite {
			return nil
		}
		real, err := u.here(to)
		if err != nil {
			return err
		}
		return setAttributes(real, mode, o, it.modTime())
	case it.isFIFO():
		return u.makeFIFO(to, mode, o, it.modTime())
	}
	if done, err := p.putHardLink(u, it, to); done || err != nil {
		return err
	}
	f, err := p.tree.open(it)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := u.makeFile(to, f, mode, o, it.modTime()); err != nil {
		return err
	}
	if !p.tree.owned() {
		return nil
	}
	parent, err := u.here(path.Dir(to))
	if err != nil {
		return err
	}
	real := parent + "/" + path.Base(to)
	if it.nlink > 1 {
		p.linked[it.ino] = real
	}
	// Also under --chown, which takes a file's capabilities away: as BuildKit does.
	return cloneXattrs(it.real, real)
}

// putHardLink makes a file of a stage or image that is one with another of the same source so in the copy, too: copying
// a whole root would multiply what packages share. A context's links are an accident of this machine, and would make
// equal builds differ.
func (p *copyPlan) putHardLink(u *upper, it *item, to string) (bool, error) {
	first, ok := p.linked[it.ino]
	if !ok || it.nlink < 2 || !p.tree.owned() {
		return false, nil
	}
	file, err := u.makeRoom(to)
	if err != nil {
		return false, err
	}
	if err := os.Link(first, file); err != nil {
		return false, nil // too many links, or replaced meanwhile: a copy does as well
	}
	return true, u.keepTime(path.Dir(to))
}

// restoreTimes sets the folders' times again, which putting files into them has changed.
func (p *copyPlan) restoreTimes(u *upper, s copySource, at map[string]string) error {
	for i := len(s.files) - 1; i >= 0; i-- {
		f := s.files[i]
		if !f.isDir() {
			continue
		}
		real, ok := u.dirs[at[f.rel]]
		if !ok {
			continue
		}
		if f.rel == "." {
			if n, err := u.below.lookup(at[f.rel], false); err == nil && n.isDir() {
				continue // an existing destination keeps its own time
			}
		}
		if err := setTime(real, f.modTime()); err != nil {
			return err
		}
	}
	return nil
}
