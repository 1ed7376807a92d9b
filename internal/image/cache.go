package image

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// The layer cache answers a step that has been run before. What a step depends on is written down as named inputs; their
// digest is the key. For every place in a Dockerfile the inputs of its last run are kept, too, so that a build can say
// which of them has changed.

// stepRecord is what the layer cache keeps about one step that was run.
type stepRecord struct {
	// Diff is the layer the step made; empty when it changed nothing.
	Diff    Digest    `json:"diff,omitempty"`
	Created time.Time `json:"created"`
}

// inputs are what a step depends on, in a fixed order.
type inputs []input

// input is one of them: a name for people and a value. Names have a prefix that tells what they are.
type input [2]string

// The prefixes of input names that have several.
const (
	inputArg   = "ARG "
	inputEnv   = "ENV "
	inputFile  = "file "
	inputMount = "mount "
)

// stepRules is counted up when the same inputs begin to make another layer, so that a store that older versions wrote
// does not answer for this one.
const stepRules = "rules 3\n"

func (in inputs) key() string {
	b, _ := json.Marshal(in) // strings only: cannot fail
	return digestOf(append([]byte(stepRules), b...)).Hex()
}

// cachedStep answers a step from the cache, or runs fill to make its layer and remembers that.
func (b *builder) cachedStep(ctx context.Context, st *state, c instructions.Command, text string, in inputs, fill func(*upper) error) error {
	return b.step(ctx, st, c, text, text, in, func(tmp *tempDir) error {
		below, err := b.dirs(st)
		if err != nil {
			return err
		}
		u, err := b.store.newUpper(tmp.join("layer"), below)
		if err != nil {
			return err
		}
		return fill(u)
	})
}

// step answers a step from the cache, or calls run, which leaves the layer's content in tmp's folder "layer".
func (b *builder) step(ctx context.Context, st *state, c instructions.Command, text, history string, in inputs, run func(tmp *tempDir) error) error {
	st.step++
	event := Event{Kind: EventStep, Step: st.step, Total: st.total, Stage: st.name, Line: placeOf(c.Location(), "").line, Text: shortText(text)}
	key, slot := in.key(), b.slot(st)
	rec, hit := b.cached(key)
	if hit && !b.opts.NoCache {
		if rec.Diff != "" {
			if err := b.checkLeaks(ctx, b.store.layerDir(rec.Diff)); err != nil {
				return err
			}
		}
		event.Cached = true
		b.touch(key)
		b.opts.Progress.send(event)
		b.rememberSlot(slot, in)
		return b.apply(st, history, rec)
	}
	event.Why = b.why(slot, in)
	b.opts.Progress.send(event)
	start := time.Now()
	tmp, err := b.store.newTemp("step")
	if err != nil {
		return err
	}
	defer tmp.remove()
	if err := run(tmp); err != nil {
		return b.store.spaceError(err)
	}
	if err := b.checkLeaks(ctx, tmp.join("layer")); err != nil {
		return err
	}
	rec, err = b.seal(ctx, st, tmp, in)
	if err != nil {
		return b.store.spaceError(err)
	}
	b.rememberSlot(slot, in)
	b.opts.Progress.send(Event{Kind: EventDone, Step: st.step, Total: st.total, Stage: st.name, Took: time.Since(start)})
	return b.apply(st, history, rec)
}

// apply adds a step's layer to the stage.
func (b *builder) apply(st *state, history string, rec stepRecord) error {
	st.last = rec.Created
	if rec.Diff != "" {
		meta, err := b.store.layerMeta(rec.Diff)
		if err != nil {
			return err
		}
		st.layers = append(st.layers, recordLayer{Diff: rec.Diff, Blob: rec.Diff, Size: meta.TarSize, MediaType: string(layerMediaType(plain))})
	}
	b.record(st, history, rec.Diff == "")
	return nil
}

// cached looks a step up. One whose layer has been pruned does not count.
func (b *builder) cached(key string) (stepRecord, bool) {
	var rec stepRecord
	data, err := os.ReadFile(b.store.path(dirSteps, key))
	if err != nil || json.Unmarshal(data, &rec) != nil {
		return rec, false
	}
	return rec, rec.Diff == "" || b.store.hasLayer(rec.Diff)
}

// touch notes that a cache entry is in use, so that Prune tells it from a forgotten one. Failing to does not matter.
func (b *builder) touch(key string) {
	now := b.store.cfg.Now()
	_ = os.Chtimes(b.store.path(dirSteps, key), now, now)
}

// seal makes the layer and remembers the step. A step that made the same of the same before keeps its first time, so
// that building again without the cache gives the same image.
func (b *builder) seal(ctx context.Context, st *state, tmp *tempDir, in inputs) (stepRecord, error) {
	diff, err := b.store.sealLayer(ctx, tmp, b.opts.SourceDateEpoch)
	if err != nil {
		return stepRecord{}, err
	}
	rec := stepRecord{Diff: diff, Created: b.store.cfg.Now().UTC().Truncate(time.Second)}
	first := b.store.path(dirResults, digestOf([]byte(st.chain()+"\x00"+in.instruction()+"\x00"+string(diff))).Hex())
	if data, err := os.ReadFile(first); err == nil {
		var old stepRecord
		if json.Unmarshal(data, &old) == nil && old.Diff == diff {
			rec.Created = old.Created
		}
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return rec, b.store.storeError(err)
	}
	if err := b.store.writeFile(first, data); err != nil {
		return rec, err
	}
	return rec, b.store.writeFile(b.store.path(dirSteps, in.key()), data)
}

func (in inputs) instruction() string {
	for _, i := range in {
		if i[0] == "instruction" {
			return i[1]
		}
	}
	return ""
}

// slot names a place in a Dockerfile: a stage and the how-manieth instruction.
func (b *builder) slot(st *state) string {
	return b.store.path(dirSlots, digestOf(fmt.Appendf(nil, "%s%s\x00%d\x00%d", stepRules, b.id, st.index, st.ordinal)).Hex())
}

// maxSlotFiles bounds how many files a slot remembers one by one: about 60 bytes for each.
const maxSlotFiles = 200_000

// slotForm is what a slot remembers of inputs: short digests of the files, which are compared but never shown; of more
// than maxSlotFiles files only all together.
func (in inputs) slotForm() inputs {
	var files, keep inputs
	for _, i := range in {
		if strings.HasPrefix(i[0], inputFile) {
			files = append(files, input{i[0], digestOf([]byte(i[1])).Hex()[:16]})
		} else {
			keep = append(keep, i)
		}
	}
	if len(files) > maxSlotFiles {
		return append(keep, input{"one of the files", files.key()})
	}
	return append(keep, files...)
}

func (b *builder) rememberSlot(path string, in inputs) {
	data, err := json.Marshal(in.slotForm())
	if err != nil {
		return
	}
	if old, err := os.ReadFile(path); err == nil && string(old) == string(data) {
		return
	}
	_ = b.store.writeFile(path, data) // losing it costs an explanation only
}

// why tells in a few words why a step is not answered by the cache.
func (b *builder) why(slot string, now inputs) string {
	if b.opts.NoCache {
		return "--no-cache"
	}
	var before inputs
	data, err := os.ReadFile(slot)
	if err != nil || json.Unmarshal(data, &before) != nil {
		return "first build"
	}
	was, is := before.byName(), now.slotForm().byName()
	if was["instruction"] != is["instruction"] {
		return "the instruction changed"
	}
	for _, prefix := range []string{inputArg, inputEnv} {
		if reason := changedValue(prefix, was, is); reason != "" {
			return reason
		}
	}
	if reason := changedFiles(was, is); reason != "" {
		return reason
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		switch {
		case was[name] == is[name] || name == "chain" || strings.HasPrefix(name, inputFile):
		case strings.HasPrefix(name, inputMount):
			return "what is mounted at " + strings.TrimPrefix(name, inputMount) + " changed"
		default:
			return name + " changed"
		}
	}
	if was["chain"] != is["chain"] {
		return "the step before changed"
	}
	return "its cached layer was removed"
}

func (in inputs) byName() map[string]string {
	m := make(map[string]string, len(in))
	for _, i := range in {
		m[i[0]] = i[1]
	}
	return m
}

func changedValue(prefix string, was, is map[string]string) string {
	names := map[string]bool{}
	for _, m := range []map[string]string{was, is} {
		for k := range m {
			if strings.HasPrefix(k, prefix) {
				names[k] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, had := was[name]
		value, has := is[name]
		switch {
		case had && has && old != value:
			return fmt.Sprintf("%s changed from %s to %s", name, shortValue(old), shortValue(value))
		case had && !has:
			return name + " is no longer set"
		case has && !had:
			return name + " is new"
		}
	}
	return ""
}

func shortValue(v string) string {
	if v == "" {
		return `""`
	}
	if len(v) > 60 {
		return v[:60] + "…"
	}
	return v
}

// changedFiles names the first file that differs, and how many more do.
func changedFiles(was, is map[string]string) string {
	var out []string
	for name, value := range is {
		file, ok := strings.CutPrefix(name, inputFile)
		if !ok {
			continue
		}
		if old, had := was[name]; !had {
			out = append(out, file+" is new")
		} else if old != value {
			out = append(out, file+" changed")
		}
	}
	for name := range was {
		if file, ok := strings.CutPrefix(name, inputFile); ok {
			if _, has := is[name]; !has {
				out = append(out, file+" is gone")
			}
		}
	}
	if len(out) == 0 {
		return ""
	}
	sort.Strings(out)
	if len(out) == 1 {
		return out[0]
	}
	return fmt.Sprintf("%s, and %s more", out[0], plural(len(out)-1, "file"))
}
