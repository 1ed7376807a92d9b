package cytomine

import (
	"cmp"
	"math"
	"math/big"
	"slices"
)

// topologyBudget bounds the comparisons of one geometry, so that a hostile one cannot keep us busy: what is not compared is
// taken to be valid. Contours of real images stay far below, as only segments that lie over one another are compared.
const topologyBudget = 20_000_000

// exactCost is what one comparison with exact arithmetic counts.
const exactCost = 200

// segment is one side of a ring.
type segment struct {
	a, b          point
	polygon, ring int // ring counts within the polygon, 0 is the shell
	index, of     int // place in the ring, and how many there are
}

func (s segment) minX() float64 { return min(s.a.x, s.b.x) }
func (s segment) maxX() float64 { return max(s.a.x, s.b.x) }

// checker compares the rings of one geometry.
type checker struct {
	left int
	// rings without repeated and closing points, by polygon.
	rings [][][]point
	// touch is where two rings of one polygon touch: a second place would cut the inside in two.
	touch map[[3]int]point
}

// validPolygons tells whether polygons are valid alone and beside one another.
func validPolygons(polygons [][][]point) bool {
	c := &checker{left: topologyBudget, touch: map[[3]int]point{}}
	var sides []segment
	for i, p := range polygons {
		var rings [][]point
		for _, r := range p {
			if len(r) == 0 {
				continue
			}
			open := distinct(r)
			open = open[:len(open)-1]
			if len(open) < 3 || slices.ContainsFunc(open, func(p point) bool { return !finite(p) }) {
				return false
			}
			for k := range open {
				sides = append(sides, segment{open[k], open[(k+1)%len(open)], i, len(rings), k, len(open)})
			}
			rings = append(rings, open)
		}
		c.rings = append(c.rings, rings)
	}
	return c.sidesApart(sides) && c.nested()
}

// sidesApart sweeps over the sides from left to right and compares those that lie over one another.
func (c *checker) sidesApart(sides []segment) bool {
	slices.SortFunc(sides, func(s, t segment) int { return cmp.Compare(s.minX(), t.minX()) })
	for i, s := range sides {
		for _, t := range sides[i+1:] {
			if t.minX() > s.maxX() || c.left <= 0 {
				break
			}
			c.left--
			if max(s.a.y, s.b.y) < min(t.a.y, t.b.y) || max(t.a.y, t.b.y) < min(s.a.y, s.b.y) {
				continue
			}
			if !c.compatible(s, t) {
				return false
			}
		}
	}
	return true
}

// meeting is how two segments meet.
type meeting int

const (
	apart    meeting = iota
	touching         // in one point that is an end of at least one of them
	crossing         // in one point inside both
	overlaid         // along a stretch
)

// compatible tells whether two sides may meet as they do.
func (c *checker) compatible(s, t segment) bool {
	how, at := c.meet(s, t)
	switch {
	case how == apart:
		return true
	case how != touching:
		return false
	case s.polygon == t.polygon && s.ring == t.ring:
		return adjacent(s, t)
	case s.polygon != t.polygon:
		return true
	}
	k := [3]int{s.polygon, min(s.ring, t.ring), max(s.ring, t.ring)}
	if other, ok := c.touch[k]; ok && other != at {
		return false
	}
	c.touch[k] = at
	return true
}

// adjacent tells whether two sides of a ring share a corner by following one another.
func adjacent(s, t segment) bool {
	return (s.index+1)%s.of == t.index || (t.index+1)%t.of == s.index
}

// meet tells how two segments meet, and where when they touch.
func (c *checker) meet(s, t segment) (meeting, point) {
	a1, a2 := c.side(s.a, s.b, t.a), c.side(s.a, s.b, t.b)
	b1, b2 := c.side(t.a, t.b, s.a), c.side(t.a, t.b, s.b)
	if a1 == 0 && a2 == 0 {
		return collinear(s, t)
	}
	if a1*a2 > 0 || b1*b2 > 0 {
		return apart, point{}
	}
	switch {
	case a1 == 0:
		return touching, t.a
	case a2 == 0:
		return touching, t.b
	case b1 == 0:
		return touching, s.a
	case b2 == 0:
		return touching, s.b
	}
	return crossing, point{}
}

// collinear tells how two segments on one line meet.
func collinear(s, t segment) (meeting, point) {
	low, high := ordered(s.a, s.b)
	from, to := ordered(t.a, t.b)
	if less(low, from) {
		low = from
	}
	if less(to, high) {
		high = to
	}
	switch {
	case less(high, low):
		return apart, point{}
	case low == high:
		return touching, low
	}
	return overlaid, point{}
}

func less(p, q point) bool { return p.x < q.x || p.x == q.x && p.y < q.y }

func ordered(p, q point) (point, point) {
	if less(q, p) {
		return q, p
	}
	return p, q
}

// side tells on which side of the line from a to b the point p lies: 1, -1, or 0 for on it. It is exact.
func (c *checker) side(a, b, p point) int {
	left, right := (b.x-a.x)*(p.y-a.y), (b.y-a.y)*(p.x-a.x)
	det := left - right
	// The bound is that of Shewchuk's adaptive orientation test.
	if bound := 3.4e-16 * (math.Abs(left) + math.Abs(right)); math.Abs(det) > bound && !math.IsInf(det, 0) {
		return cmp.Compare(det, 0)
	}
	if integral(a) && integral(b) && integral(p) {
		return cmp.Compare(det, 0) // small whole numbers make no rounding errors
	}
	c.left -= exactCost
	rat := func(x float64) *big.Rat { return new(big.Rat).SetFloat64(x) }
	sub := func(x, y float64) *big.Rat { return new(big.Rat).Sub(rat(x), rat(y)) }
	l := new(big.Rat).Mul(sub(b.x, a.x), sub(p.y, a.y))
	return l.Cmp(new(big.Rat).Mul(sub(b.y, a.y), sub(p.x, a.x)))
}

func integral(p point) bool {
	const most = 1 << 24
	return p.x == math.Trunc(p.x) && p.y == math.Trunc(p.y) && math.Abs(p.x) < most && math.Abs(p.y) < most
}

// nested tells whether holes lie inside their shell and in no other hole, and no polygon inside another. Sides are known not
// to cross by now, so each corner of a ring is on one side of the other ring, or on it.
func (c *checker) nested() bool {
	for i, rings := range c.rings {
		for k := 1; k < len(rings); k++ {
			if c.where(rings[k], rings[0]) == outside {
				return false
			}
			for o := 1; o < len(rings) && c.left > 0; o++ {
				if c.left--; o != k && c.where(rings[k], rings[o]) == inside {
					return false
				}
			}
		}
		for o, others := range c.rings {
			if c.left--; c.left <= 0 {
				break
			}
			if o != i && len(rings) > 0 && len(others) > 0 && c.overlaps(rings[0], others) {
				return false
			}
		}
	}
	return true
}

// overlaps tells whether a shell lies inside another polygon and not in one of its holes.
func (c *checker) overlaps(shell []point, other [][]point) bool {
	if c.where(shell, other[0]) != inside {
		return false
	}
	for _, hole := range other[1:] {
		if c.where(shell, hole) != outside {
			return false
		}
	}
	return true
}

// location is where a point or ring lies as seen from a ring.
type location int

const (
	outside location = iota
	inside
	onEdge // of rings: every corner that was looked at lies on the other ring
)

// where tells where ring r lies as seen from ring of: outside when any corner is, as rings that cross in corners only are not
// found by comparing sides.
func (c *checker) where(r, of []point) location {
	low, high := box(of)
	c.left -= len(of) / 16 // for the box
	at := onEdge
	for _, p := range r {
		if c.left <= 0 {
			break
		}
		if p.x < low.x || p.y < low.y || p.x > high.x || p.y > high.y {
			return outside
		}
		switch c.locate(p, of) {
		case outside:
			return outside
		case inside:
			at = inside
		}
	}
	return at
}

func box(r []point) (low, high point) {
	low, high = r[0], r[0]
	for _, p := range r {
		low = point{min(low.x, p.x), min(low.y, p.y)}
		high = point{max(high.x, p.x), max(high.y, p.y)}
	}
	return low, high
}

// locate counts how often a ray from p to the right meets the ring.
func (c *checker) locate(p point, ring []point) location {
	c.left -= len(ring)
	at := outside
	for i, a := range ring {
		b := ring[(i+1)%len(ring)]
		if max(a.y, b.y) < p.y || min(a.y, b.y) > p.y || max(a.x, b.x) < p.x {
			continue
		}
		side := c.side(a, b, p)
		if side == 0 && p.x >= min(a.x, b.x) && p.x <= max(a.x, b.x) {
			return onEdge
		}
		if a.y > p.y != (b.y > p.y) && side != 0 && side > 0 == (b.y > a.y) {
			at = 1 - at
		}
	}
	return at
}
