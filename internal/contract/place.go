package contract

import (
	"bytes"
	"encoding/json"

	"longshore/internal/task"
)

// BodyOf returns the request body: the one the caller gave, else a JSON object of the inputs placed in the body, in
// parameter order, followed by the undeclared ones.
func BodyOf(t *task.Task, v task.Values) task.Body {
	if v.Body != nil {
		return *v.Body
	}
	var b bytes.Buffer
	member := func(name string, value any) {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		key, _ := json.Marshal(name) // a string always encodes
		val, err := json.Marshal(value)
		if err != nil {
			val = []byte("null") // values are checked before; none reaches here
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(val)
	}
	b.WriteByte('{')
	for _, p := range t.Inputs() {
		if val, ok := v.Inputs[p.Name]; ok && p.Place.Kind == task.PlaceBodyMember {
			member(p.Place.Name, val.Plain(p.Type))
		}
	}
	for _, f := range v.Free {
		member(f.Name, f.JSON)
	}
	b.WriteByte('}')
	return task.Body{Text: b.String()}
}

// ResourcesOf returns the task's resources with the caller's in their place.
func ResourcesOf(t *task.Task, v task.Values) task.Resources {
	r := t.Resources
	if v.Resources.CPU != 0 {
		r.CPU = v.Resources.CPU
	}
	if v.Resources.Memory != 0 {
		r.Memory = v.Resources.Memory
	}
	if v.Resources.GPUs != 0 {
		r.GPUs = v.Resources.GPUs
	}
	if v.Resources.Shm != 0 {
		r.Shm = v.Resources.Shm
	}
	if v.Resources.Disk != 0 {
		r.Disk = v.Resources.Disk
	}
	return r
}
