package web

import (
	"fmt"
	"strings"
	"time"

	"longshore/internal/task"
)

// chart is a line over time, drawn in chartWidth by chartHeight units.
type chart struct {
	Title string
	// Line are the points of the line, Area those of what is below it.
	Line, Area string
	Top        string // what the upper edge stands for
	Length     string // what the right edge stands for
	Label      string // the same in words
}

const (
	chartWidth  = 600
	chartHeight = 140
)

// sample is what a container had used at one time.
type sample struct {
	at         time.Time
	cpuSeconds float64
	memory     int64
}

// charts draw CPU and memory; none when there are too few samples for a line.
func charts(samples []sample, needs task.Resources) []chart {
	if len(samples) < 2 {
		return nil
	}
	var cpu, memory []float64
	for i, s := range samples {
		memory = append(memory, float64(s.memory))
		rate := 0.0
		if i > 0 {
			if d := s.at.Sub(samples[i-1].at).Seconds(); d > 0 {
				rate = max(0, (s.cpuSeconds-samples[i-1].cpuSeconds)/d)
			}
		}
		cpu = append(cpu, rate)
	}
	cpu[0] = cpu[1] // what it used before the first look is not known
	length := span(samples[len(samples)-1].at.Sub(samples[0].at))
	cores := func(v float64) string { return fmt.Sprintf("%.2g cores", v) }
	size := func(v float64) string { return task.Bytes(v).String() }
	return []chart{
		draw("CPU", samples, cpu, max(float64(needs.CPU)/1000, 0), length, cores),
		draw("Memory", samples, memory, float64(needs.Memory), length, size),
	}
}

// draw makes a chart up to the limit, or to the highest value where that is far below it.
func draw(title string, samples []sample, values []float64, limit float64, length string, say func(float64) string) chart {
	highest, sum := 0.0, 0.0
	for _, v := range values {
		highest = max(highest, v)
		sum += v
	}
	top := max(highest*1.15, 1e-3)
	if limit > 0 && highest > limit/4 {
		top = max(limit, highest)
	}
	start, whole := samples[0].at, samples[len(samples)-1].at.Sub(samples[0].at).Seconds()
	var points []string
	for i, v := range values {
		x := chartWidth * samples[i].at.Sub(start).Seconds() / max(whole, 1e-9)
		points = append(points, fmt.Sprintf("%.1f,%.1f", x, chartHeight*(1-v/top)))
	}
	line := strings.Join(points, " ")
	label := fmt.Sprintf("%s over %s: at most %s, %s on average", title, length, say(highest), say(sum/float64(len(values))))
	if limit > 0 {
		label += ", of " + say(limit)
	}
	return chart{
		Title: title, Line: line, Area: fmt.Sprintf("0,%d %s %d,%d", chartHeight, line, chartWidth, chartHeight),
		Top: say(top), Length: length, Label: label,
	}
}
