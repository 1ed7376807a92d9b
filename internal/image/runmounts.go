package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sys/unix"
)

// runMount is one --mount of a RUN.
type runMount struct {
	*instructions.Mount
	target string // absolute, or empty for a secret that is a variable only
	// key is what of the mount the step's result depends on.
	key    string
	secret []byte
	env    string // the variable a secret goes to
	plan   *copyPlan
}

// runMounts looks up what a RUN mounts.
func (b *builder) runMounts(ctx context.Context, st *state, c *instructions.RunCommand) ([]runMount, error) {
	var out []runMount
	for _, m := range instructions.GetMounts(c) {
		r := runMount{Mount: m}
		if m.Target != "" {
			r.target = path.Clean(st.absolute(m.Target))
		}
		var err error
		switch m.Type {
		case instructions.MountTypeSSH:
			if m.Required {
				err = &Error{Kind: KindUnsupported, What: "--mount=type=ssh", Why: "required by this RUN, and no ssh agent is given to builds", Hint: "use a secret, or copy what is needed into the context"}
				break
			}
			r.target, r.key = "", "ssh" // as with Docker: without an agent, the command finds none
		case instructions.MountTypeSecret:
			err = b.secretMount(&r)
		case instructions.MountTypeCache:
			id := m.CacheID
			if id == "" {
				id = r.target
			}
			r.CacheID = id
			r.key = fmt.Sprintf("cache %s %v %v", id, m.From, m.ReadOnly)
		case instructions.MountTypeTmpfs:
			r.key = fmt.Sprintf("tmpfs %d", m.SizeLimit)
		case instructions.MountTypeBind:
			err = b.bindMount(ctx, st, &r)
		}
		if err != nil {
			return nil, err
		}
		optional := m.Type == instructions.MountTypeSecret || m.Type == instructions.MountTypeSSH
		if r.target == "/" || (r.target == "" && r.env == "" && !optional) {
			return nil, &Error{Kind: KindInvalid, What: "--mount", Why: "its target is " + quoteText(m.Target), Hint: "name a path below /"}
		}
		out = append(out, r)
	}
	return out, nil
}

// secretMount finds a secret. Its value is no part of the key: a rotated token does not run the step again.
func (b *builder) secretMount(r *runMount) error {
	id := r.CacheID
	if id == "" {
		id = r.Source
	}
	if id == "" {
		id = path.Base(r.target)
	}
	if r.Env != nil {
		r.env = *r.Env
		if r.env == "" {
			r.env = id
		}
	}
	if r.target == "" && r.Env == nil {
		r.target = "/run/secrets/" + path.Base(id)
	}
	r.CacheID = id
	r.key = "secret " + id
	value, ok := b.opts.Secrets[id]
	if !ok && r.Required {
		return &Error{Kind: KindNotFound, What: "secret " + quoteText(id), Why: "required by this RUN but not given to the build", Hint: "pass it as a secret of that id"}
	}
	if !ok {
		r.target, r.env = "", ""
		return nil
	}
	r.secret = value
	return nil
}

// bindMount finds what is bound: files of the context, a stage or an image.
func (b *builder) bindMount(ctx context.Context, st *state, r *runMount) error {
	t, err := b.copyTree(ctx, st, r.From)
	if err != nil {
		return err
	}
	src := strings.TrimPrefix(path.Clean("/"+r.Source), "/")
	if src == "" {
		src = "."
	}
	r.plan = &copyPlan{tree: t, dest: "/", owner: owner{set: !t.owned()}}
	it, err := t.lookup(src, true)
	if err != nil {
		return r.plan.notThere(r.Source)
	}
	files, err := r.plan.collect(it, nil, "")
	if err != nil {
		return err
	}
	r.plan.sources = []copySource{{top: it, files: files, name: "file"}}
	in, err := b.hashSources(ctx, r.plan)
	if err != nil {
		return err
	}
	r.key = "bind " + in.key()
	return nil
}

// prepareMounts puts the mounts' sources on disk and adds them to spec. The returned function, never nil, gives back
// locks and removes what was made.
func (r *runStep) prepareMounts(ctx context.Context, tmp *tempDir, spec *RunSpec) (func(), error) {
	var undo []func()
	release := func() {
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}
	if r.script != "" {
		dir := tmp.join("script")
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			err = os.WriteFile(dir+"/"+path.Base(r.args[0]), []byte(r.script), 0o755)
		}
		if err != nil {
			return release, r.builder.store.storeError(err)
		}
		spec.Mounts = append(spec.Mounts, RunMount{Source: dir, Target: scriptDir, ReadOnly: true})
	}
	for i := range r.mounts {
		m := &r.mounts[i]
		if m.target == "" {
			continue
		}
		where := tmp.join(fmt.Sprintf("mount-%d", i))
		var mount RunMount
		var err error
		switch m.Type {
		case instructions.MountTypeTmpfs:
			mount = RunMount{Tmpfs: true, Size: m.SizeLimit}
		case instructions.MountTypeSecret:
			mount, err = m.secretFile(where)
			undo = append(undo, func() { os.Remove(where) })
		case instructions.MountTypeCache:
			var free func()
			mount, free, err = r.cacheFolder(ctx, m, where)
			if free != nil {
				undo = append(undo, free)
			}
		case instructions.MountTypeBind:
			mount, err = r.bindFolder(ctx, m, where)
		}
		if err != nil {
			return release, err
		}
		mount.Target = m.target
		spec.Mounts = append(spec.Mounts, mount)
	}
	return release, nil
}

func (m *runMount) secretFile(where string) (RunMount, error) {
	if err := os.WriteFile(where, m.secret, 0o600); err != nil {
		return RunMount{}, err
	}
	mode := uint32(0o400)
	if m.Mode != nil {
		mode = uint32(*m.Mode)
	}
	if err := setOwner(where, m.ids()); err != nil {
		return RunMount{}, err
	}
	return RunMount{Source: where, ReadOnly: true}, unix.Chmod(where, mode&0o7777)
}

func (m *runMount) ids() owner {
	o := owner{set: true}
	if m.UID != nil {
		o.uid = int(*m.UID)
	}
	if m.GID != nil {
		o.gid = int(*m.GID)
	}
	return o
}

// cacheFolder finds or makes the folder of a cache mount. Shared ones are used by several builds at once, locked ones by
// one after the other; a private one that is in use is replaced by an empty folder for this step.
func (r *runStep) cacheFolder(ctx context.Context, m *runMount, where string) (RunMount, func(), error) {
	s := r.builder.store
	if m.From != "" {
		return RunMount{}, nil, &Error{Kind: KindUnsupported, What: "--mount=type=cache,from=" + m.From, Why: "cache mounts begin empty here", Hint: "copy what they should begin with in the RUN"}
	}
	dir := s.path(dirCacheMount, digestOf([]byte(m.CacheID)).Hex())
	var free func()
	switch m.CacheSharing {
	case instructions.MountSharingLocked:
		unlock, err := s.flock(ctx, dir+".lock", unix.LOCK_EX)
		if err != nil {
			return RunMount{}, nil, err
		}
		free = unlock
	case instructions.MountSharingPrivate:
		f, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return RunMount{}, nil, s.storeError(err)
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			dir = where
		}
		free = func() { f.Close() }
	}
	mode := uint32(0o755)
	if m.Mode != nil {
		mode = uint32(*m.Mode)
	}
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		err = setOwner(dir, m.ids())
		if err == nil {
			err = unix.Chmod(dir, mode&0o7777)
		}
	} else if errors.Is(err, syscall.EEXIST) {
		err = nil
	}
	return RunMount{Source: dir, ReadOnly: m.ReadOnly}, free, s.storeError(err)
}

// bindFolder copies what a bind mount shows, so that the command sees neither excluded files nor this machine's, and
// cannot change the originals. A file is bound as a file.
func (r *runStep) bindFolder(ctx context.Context, m *runMount, where string) (RunMount, error) {
	b := r.builder
	u, err := b.store.newUpper(where, nil)
	if err != nil {
		return RunMount{}, err
	}
	if err := b.place(ctx, u, m.plan); err != nil {
		return RunMount{}, err
	}
	mount := RunMount{Source: where, ReadOnly: m.ReadOnly}
	if top := m.plan.sources[0].top; !top.isDir() {
		mount.Source = where + "/file"
	} else if err := unix.Chmod(where, top.mode&0o7777); err != nil {
		return RunMount{}, b.store.storeError(err)
	}
	return mount, nil
}

func isNotEmpty(err error) bool {
	return errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST)
}
