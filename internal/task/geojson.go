package task

import (
	"bytes"
	"encoding/json"
)

// compact returns a JSON document without the white space between its parts, and one that is not valid unchanged.
func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// exploded turns a GeoJSON collection that is given for an array of geometries into the list of what it holds: the features'
// geometries, or the geometries. Everything else is returned as it is.
func exploded(t Type, raw json.RawMessage) json.RawMessage {
	if t.Item == nil || t.Item.Kind != Geometry {
		return raw
	}
	document := raw
	var text string
	if json.Unmarshal(raw, &text) == nil {
		document = json.RawMessage(text)
	}
	var c struct {
		Type     string `json:"type"`
		Features []struct {
			Geometry json.RawMessage `json:"geometry"`
		} `json:"features"`
		Geometries []json.RawMessage `json:"geometries"`
	}
	if json.Unmarshal(document, &c) != nil {
		return raw
	}
	list := []json.RawMessage{}
	switch {
	case c.Type == "FeatureCollection" && c.Features != nil:
		for _, f := range c.Features {
			list = append(list, f.Geometry)
		}
	case c.Type == "GeometryCollection" && c.Geometries != nil:
		list = append(list, c.Geometries...)
	default:
		return raw
	}
	out, err := json.Marshal(list)
	if err != nil { // a feature without geometry
		return raw
	}
	return out
}
