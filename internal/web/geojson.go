package web

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// underlay is an image below a drawing, in pixels.
type underlay struct {
	URL, Name     string
	Width, Height int
}

// drawing is GeoJSON as a picture.
type drawing struct {
	Shapes []shape
	Under  *underlay
	// ViewBox is the part of the plane that is shown; Stroke the width of lines in it. Flip turns the plane so that y points up,
	// within the same box.
	ViewBox, Flip string
	Stroke        float64
	X, Y, W, H    float64
	// JSON is the document itself.
	JSON *node
	// Cut tells that there are more shapes.
	Cut bool
}

// shape is an outline, or a point when Path is empty.
type shape struct {
	Path string
	X, Y float64
	Open bool // a line, not an area
	// Says are the feature's properties, for people.
	Says string
}

// maxShapes and maxPoints bound a drawing.
const (
	maxShapes = 2000
	maxPoints = 50_000
)

// geo is any GeoJSON object.
type geo struct {
	Type        string          `json:"type"`
	Coordinates json.RawMessage `json:"coordinates"`
	Geometry    *geo            `json:"geometry"`
	Geometries  []geo           `json:"geometries"`
	Features    []geo           `json:"features"`
	Properties  json.RawMessage `json:"properties"`
}

// pen collects shapes and their extent.
type pen struct {
	shapes                 []shape
	points                 int
	minX, minY, maxX, maxY float64
	cut                    bool
}

// draw makes a picture of a GeoJSON document; nil when it is none, or has nothing to draw.
func (b *previewer) draw(data []byte) *drawing {
	var g geo
	if json.Unmarshal(data, &g) != nil {
		var list []geo // App Engine tasks write arrays of geometries too
		if json.Unmarshal(data, &list) != nil {
			return nil
		}
		g = geo{Type: "GeometryCollection", Geometries: list}
	}
	p := pen{minX: math.Inf(1), minY: math.Inf(1), maxX: math.Inf(-1), maxY: math.Inf(-1)}
	p.add(&g, "", 0)
	if extent := max(p.maxX-p.minX, p.maxY-p.minY); len(p.shapes) == 0 || math.IsInf(extent, 0) {
		return nil
	}
	d := &drawing{Shapes: p.shapes, Cut: p.cut, Under: b.under(), JSON: tree(data)}
	x, y, w, h := p.minX, p.minY, p.maxX-p.minX, p.maxY-p.minY
	if u := d.Under; u != nil {
		// The image, and what may lie outside of it.
		x, y = min(0, x), min(0, y)
		w, h = max(float64(u.Width), p.maxX)-x, max(float64(u.Height), p.maxY)-y
	} else {
		margin := max(w, h, 1e-6) * 0.05
		x, y, w, h = x-margin, y-margin, w+2*margin, h+2*margin
	}
	d.X, d.Y, d.W, d.H = x, y, w, h
	d.ViewBox = fmt.Sprintf("%g %g %g %g", x, y, w, h)
	mirror := 2*y + h
	if d.Under != nil {
		mirror = float64(d.Under.Height)
	}
	d.Flip = fmt.Sprintf("matrix(1 0 0 -1 0 %g)", mirror)
	d.Stroke = max(w, h) / 250
	return d
}

func (p *pen) add(g *geo, says string, depth int) {
	if depth > 8 {
		return
	}
	switch g.Type {
	case "FeatureCollection":
		for i := range g.Features {
			p.add(&g.Features[i], "", depth+1)
		}
	case "Feature":
		if g.Geometry != nil {
			p.add(g.Geometry, clip(properties(g.Properties), 200), depth+1)
		}
	case "GeometryCollection":
		for i := range g.Geometries {
			p.add(&g.Geometries[i], says, depth+1)
		}
	case "Point":
		p.pointsOf([]json.RawMessage{g.Coordinates}, says)
	case "MultiPoint":
		p.pointsOf(members(g.Coordinates), says)
	case "LineString":
		p.outline([]json.RawMessage{g.Coordinates}, true, says)
	case "MultiLineString":
		p.outline(members(g.Coordinates), true, says)
	case "Polygon":
		p.outline(members(g.Coordinates), false, says)
	case "MultiPolygon":
		for _, polygon := range members(g.Coordinates) {
			p.outline(members(polygon), false, says)
		}
	}
}

// properties are a feature's in one line.
func properties(raw json.RawMessage) string {
	if s := string(raw); s != "null" && s != "{}" {
		return s
	}
	return ""
}

func members(raw json.RawMessage) []json.RawMessage {
	var list []json.RawMessage
	_ = json.Unmarshal(raw, &list) // what is no list has no members
	return list
}

// position reads one; ok is false for what is none.
func (p *pen) position(raw json.RawMessage) (x, y float64, ok bool) {
	var c []float64
	if json.Unmarshal(raw, &c) != nil || len(c) < 2 || p.points >= maxPoints {
		return 0, 0, false
	}
	p.points++
	p.minX, p.maxX = min(p.minX, c[0]), max(p.maxX, c[0])
	p.minY, p.maxY = min(p.minY, c[1]), max(p.maxY, c[1])
	return c[0], c[1], true
}

func (p *pen) full() bool {
	p.cut = p.cut || len(p.shapes) >= maxShapes || p.points >= maxPoints
	return p.cut
}

func (p *pen) pointsOf(list []json.RawMessage, says string) {
	for _, raw := range list {
		if p.full() {
			return
		}
		if x, y, ok := p.position(raw); ok {
			p.shapes = append(p.shapes, shape{X: x, Y: y, Says: says})
		}
	}
}

// outline makes one shape of all rings or lines.
func (p *pen) outline(lines []json.RawMessage, open bool, says string) {
	if p.full() {
		return
	}
	var b strings.Builder
	for _, line := range lines {
		move := byte('M')
		for _, raw := range members(line) {
			if x, y, ok := p.position(raw); ok {
				fmt.Fprintf(&b, "%c%g %g", move, x, y)
				move = 'L'
			}
		}
		if !open && move == 'L' {
			b.WriteByte('Z')
		}
	}
	if b.Len() > 0 {
		p.shapes = append(p.shapes, shape{Path: b.String(), Open: open, Says: says})
	}
}
