package cytomine

import (
	"encoding/json"
	"math"
	"slices"
)

// The App Engine's texts about geometries.
const (
	msgNoGeoJSON      = "failed to parse the given GeoJSON object"
	msgInvalidGeoJSON = "invalid GeoJSON object"
	msgGeometryType   = "unsupported geometry type"
	msgSubtype        = "unsupported geometry subtype"
	msgNoSubtype      = "unsupported GeoJSON subtype"
	msgNoRadius       = "missing radius parameter"
)

// point is one position; a third coordinate is not looked at.
type point struct{ x, y float64 }

// shape is a parsed geometry: points, lines, and polygons as rings, the shell first.
type shape struct {
	kind     string
	points   []point
	lines    [][]point
	polygons [][][]point
	// parts are those of a collection.
	parts []shape
}

// maxCollection bounds how deeply collections are nested.
const maxCollection = 32

// checkGeometry tests a GeoJSON document as one geometry, in the App Engine's order: parse, topology, type, properties. It
// returns the App Engine's text for the first check that fails, or "".
func checkGeometry(data []byte, rule propertiesRule) string {
	document, ok := members(data)
	if !ok {
		return msgNoGeoJSON
	}
	kind := textOf(document["type"])
	if kind == "FeatureCollection" {
		return msgGeometryType
	}
	geometry := json.RawMessage(data)
	if kind == "Feature" {
		geometry = document["geometry"]
	}
	s, ok := parseShape(geometry, 0)
	switch {
	case !ok:
		return msgNoGeoJSON
	case !s.valid():
		return msgInvalidGeoJSON
	case s.kind == "GeometryCollection":
		return msgGeometryType
	case kind == "Feature":
		return checkProperties(document["properties"], rule)
	}
	return ""
}

// members reads a JSON object; unlike the fields of a struct, its names count letter for letter.
func members(data json.RawMessage) (map[string]json.RawMessage, bool) {
	var object map[string]json.RawMessage
	return object, len(data) > 0 && json.Unmarshal(data, &object) == nil && object != nil
}

// textOf is a JSON string's text, "" for anything else.
func textOf(data json.RawMessage) string {
	var s string
	if len(data) == 0 || json.Unmarshal(data, &s) != nil {
		return ""
	}
	return s
}

// propertiesRule says what properties a Feature may have.
type propertiesRule int

const (
	anyProperties propertiesRule = iota // as documented: those without meaning are kept
	needsSubtype                        // as today's App Engine reads them: no others without a subType
)

// checkProperties looks at the two members that mean something: subType, and the radius of a circle.
func checkProperties(data json.RawMessage, rule propertiesRule) string {
	properties, ok := members(data)
	if !ok {
		return ""
	}
	raw, ok := properties["subType"]
	switch {
	case !ok && rule == needsSubtype && len(properties) > 0:
		return msgNoSubtype
	case !ok:
		return ""
	}
	subtype := textOf(raw)
	if subtype != "Circle" && subtype != "Rectangle" {
		return msgSubtype
	}
	var radius *float64
	if subtype == "Circle" && (len(properties["radius"]) == 0 || json.Unmarshal(properties["radius"], &radius) != nil || radius == nil) {
		return msgNoRadius
	}
	return ""
}

func parseShape(data json.RawMessage, depth int) (shape, bool) {
	object, ok := members(data)
	if !ok || depth > maxCollection {
		return shape{}, false
	}
	s, coordinates := shape{kind: textOf(object["type"])}, object["coordinates"]
	ok = false
	switch s.kind {
	case "Point":
		var p point
		p, ok = position(coordinates)
		s.points = []point{p}
	case "MultiPoint":
		s.points, ok = positions(coordinates)
	case "LineString":
		var l []point
		l, ok = line(coordinates)
		s.lines = [][]point{l}
	case "MultiLineString":
		s.lines, ok = each(coordinates, line)
	case "Polygon":
		var p [][]point
		p, ok = each(coordinates, ring)
		s.polygons = [][][]point{p}
	case "MultiPolygon":
		s.polygons, ok = each(coordinates, func(d json.RawMessage) ([][]point, bool) { return each(d, ring) })
	case "GeometryCollection":
		s.parts, ok = each(object["geometries"], func(d json.RawMessage) (shape, bool) { return parseShape(d, depth+1) })
	}
	return s, ok
}

// each reads a list of things of one kind. A missing list or null is none.
func each[T any](data json.RawMessage, read func(json.RawMessage) (T, bool)) ([]T, bool) {
	var list []json.RawMessage
	if len(data) == 0 || json.Unmarshal(data, &list) != nil || list == nil {
		return nil, false
	}
	out := make([]T, 0, len(list))
	for _, d := range list {
		v, ok := read(d)
		if !ok {
			return nil, false
		}
		out = append(out, v)
	}
	return out, true
}

func position(data json.RawMessage) (point, bool) {
	var c []*float64
	if len(data) == 0 || json.Unmarshal(data, &c) != nil || len(c) < 2 || slices.Contains(c, nil) {
		return point{}, false
	}
	return point{*c[0], *c[1]}, true
}

func positions(data json.RawMessage) ([]point, bool) {
	var list [][]*float64
	if len(data) == 0 || json.Unmarshal(data, &list) != nil || list == nil {
		return nil, false
	}
	out := make([]point, 0, len(list))
	for _, c := range list {
		if len(c) < 2 || slices.Contains(c, nil) {
			return nil, false
		}
		out = append(out, point{*c[0], *c[1]})
	}
	return out, true
}

// line reads no position or at least two.
func line(data json.RawMessage) ([]point, bool) {
	l, ok := positions(data)
	return l, ok && len(l) != 1
}

// ring reads a closed ring of at least four positions, or none.
func ring(data json.RawMessage) ([]point, bool) {
	l, ok := positions(data)
	if !ok || len(l) > 0 && (len(l) < 4 || l[0] != l[len(l)-1]) {
		return nil, false
	}
	return l, true
}

// valid tells whether the geometry is valid by the OGC's rules: lines have two distinct points, rings do not touch or cross
// themselves, holes lie in their shell, and polygons of one geometry do not overlap.
func (s shape) valid() bool {
	for _, l := range s.lines {
		if len(l) > 0 && len(distinct(l)) < 2 {
			return false
		}
	}
	for _, p := range s.parts {
		if !p.valid() {
			return false
		}
	}
	return validPolygons(s.polygons)
}

// distinct returns the points without those that repeat the one before.
func distinct(l []point) []point {
	return slices.Compact(slices.Clone(l))
}

func finite(p point) bool {
	return !math.IsInf(p.x, 0) && !math.IsInf(p.y, 0) && !math.IsNaN(p.x) && !math.IsNaN(p.y)
}
