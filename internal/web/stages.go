package web

import (
	"fmt"
	"strings"
	"time"

	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

// bar is the course of a run over time, as a drawing of barWidth units.
type bar struct {
	Stages []stage
	Total  time.Duration
	// Label says the same in words.
	Label string
}

// stage is one state that the run was in.
type stage struct {
	State task.State
	Took  time.Duration
	X, W  float64
	// Open tells that it lasts still.
	Open bool
}

const (
	barWidth = 1000
	// leastWidth lets short stages be seen.
	leastWidth = 6
)

// barOf draws the states by the events, from submission until the end or now.
func barOf(run store.Run, events []durable.Event, now time.Time) bar {
	end := now
	if run.State.Terminal() {
		end = run.EndedAt
	}
	var b bar
	at, state := run.CreatedAt, task.Queued
	enter := func(to task.State, t time.Time) {
		if t.Before(at) {
			t = at // another machine's clock
		}
		if n := len(b.Stages); n > 0 && b.Stages[n-1].State == state {
			b.Stages[n-1].Took += t.Sub(at)
		} else if t.After(at) || state != task.Queued {
			b.Stages = append(b.Stages, stage{State: state, Took: t.Sub(at)})
		}
		at, state = t, to
	}
	for _, e := range events {
		if e.State != "" && e.State != state && !state.Terminal() {
			enter(e.State, e.At)
		}
	}
	if !state.Terminal() {
		enter("", end)
		if n := len(b.Stages); n > 0 {
			b.Stages[n-1].Open = !run.State.Terminal()
		}
	}
	b.lay()
	return b
}

// lay gives each stage its place.
func (b *bar) lay() {
	var words []string
	for _, s := range b.Stages {
		b.Total += s.Took
		words = append(words, fmt.Sprintf("%s %s", s.State, span(s.Took)))
	}
	b.Label = strings.Join(words, ", ")
	room := float64(barWidth - leastWidth*len(b.Stages))
	x := 0.0
	for i := range b.Stages {
		s := &b.Stages[i]
		s.X, s.W = x, leastWidth
		if b.Total > 0 {
			s.W += room * float64(s.Took) / float64(b.Total)
		}
		x += s.W
	}
}
