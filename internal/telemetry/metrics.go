// Package telemetry tells operators how a server is doing: metrics for Prometheus, and traces by OpenTelemetry. It looks at the
// server from outside; nothing waits for it.
package telemetry

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

// Metrics are counted while things happen, in a registry of their own. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	runs     *prometheus.CounterVec
	retries  *prometheus.CounterVec
	stages   *prometheus.HistogramVec
	waited   prometheus.Histogram
	total    *prometheus.HistogramVec
	cpu      *prometheus.CounterVec
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

var _ durable.Observer = (*Metrics)(nil)

// seconds are the bounds of durations, from a fast request to a long run.
func seconds() []float64 {
	return []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400}
}

// NewMetrics makes the registry. version is the program's.
func NewMetrics(version string) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	durations := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds()}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		runs:     counter("longshore_runs_ended_total", "Runs that ended on this server.", "contract", "state", "reason"),
		retries:  counter("longshore_run_retries_total", "Attempts that failed and are made again.", "contract", "reason"),
		stages:   durations("longshore_run_stage_seconds", "How long runs were in a state.", "contract", "stage"),
		waited:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "longshore_run_queued_seconds", Help: "From the submission of a run to its last attempt.", Buckets: seconds()}),
		total:    durations("longshore_run_seconds", "From the submission of a run to its end.", "contract", "state"),
		cpu:      counter("longshore_run_cpu_seconds_total", "CPU time that runs used.", "contract"),
		requests: counter("longshore_http_requests_total", "Requests that were answered.", "method", "route", "code"),
		latency:  durations("longshore_http_request_seconds", "How long requests took; long polls and streams last as long as they are followed.", "method", "route"),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "longshore_http_requests_in_flight", Help: "Requests that are being answered."}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "longshore_build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": version}})
	info.Set(1)
	m.registry.MustRegister(m.runs, m.retries, m.stages, m.waited, m.total, m.cpu, m.requests, m.latency, m.inFlight, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Watch adds what is asked of a service at every scrape.
func (m *Metrics) Watch(s Source) error { return m.registry.Register(newSourceCollector(s)) }

// Handler answers /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 3, Timeout: 10 * time.Second, ErrorHandling: promhttp.ContinueOnError})
}

// Registry is where the metrics are, for tests and for metrics of others.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Ended implements durable.Observer.
func (m *Metrics) Ended(run store.Run, e store.End) {
	if e.State == task.Queued {
		m.retries.WithLabelValues(run.Contract, string(e.Reason)).Inc()
		return
	}
	m.runs.WithLabelValues(run.Contract, string(e.State), string(e.Reason)).Inc()
	m.cpu.WithLabelValues(run.Contract).Add(e.Usage.CPUSeconds)
	m.total.WithLabelValues(run.Contract, string(e.State)).Observe(max(0, e.EndedAt.Sub(run.CreatedAt).Seconds()))
	stages, spent := stagesOf(e), 0.0
	for _, s := range stages {
		m.stages.WithLabelValues(run.Contract, string(s.Stage)).Observe(s.Seconds)
		spent += s.Seconds
	}
	if len(stages) > 0 {
		m.waited.Observe(max(0, e.EndedAt.Sub(run.CreatedAt).Seconds()-spent))
	}
}

// stagesOf are the times of an end's last attempt.
func stagesOf(e store.End) []task.StageTime {
	var r struct {
		Stages []task.StageTime `json:"stages"`
	}
	if json.Unmarshal(e.Result, &r) != nil {
		return nil
	}
	return r.Stages
}

// Source is what a scrape asks for: a durable.Service.
type Source interface {
	System(ctx context.Context) (durable.System, error)
	Runs(ctx context.Context, f store.RunFilter) ([]store.Run, string, error)
}

// sourceCollector asks a service at each scrape.
type sourceCollector struct {
	source                                                                     Source
	now                                                                        func() time.Time
	up, runs, oldest, slots, busy, capacity, free, blobs, room, servers, drain *prometheus.Desc
}

func newSourceCollector(s Source) *sourceCollector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &sourceCollector{
		source: s, now: time.Now,
		up:       d("longshore_up", "Whether database and blobs answered this scrape."),
		runs:     d("longshore_runs", "Runs on record, by state. Servers of one database all tell the same.", "state"),
		oldest:   d("longshore_queue_oldest_seconds", "Age of the run that has been queued longest; 0 when none is."),
		slots:    d("longshore_slots", "How many runs may be under way at once."),
		busy:     d("longshore_slots_busy", "How many are."),
		capacity: d("longshore_capacity", "What runs may use together: cpus, memory_bytes, gpus.", "resource"),
		free:     d("longshore_capacity_free", "What of it no run has.", "resource"),
		blobs:    d("longshore_blob_bytes", "What inputs, outputs, logs and packages take."),
		room:     d("longshore_blob_free_bytes", "What is left for them."),
		servers:  d("longshore_servers", "Servers of this database that were seen in the last two minutes."),
		drain:    d("longshore_draining", "Whether the server is about to end and takes no more runs."),
	}
}

// Describe implements prometheus.Collector.
func (c *sourceCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.runs, c.oldest, c.slots, c.busy, c.capacity, c.free, c.blobs, c.room, c.servers, c.drain} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *sourceCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	y, err := c.source.System(ctx)
	var queued []store.Run
	if err == nil {
		queued, _, err = c.source.Runs(ctx, store.RunFilter{States: []task.State{task.Queued}, Oldest: true, Limit: 1})
	}
	if err != nil {
		gauge(c.up, 0)
		return
	}
	gauge(c.up, 1)
	for _, s := range []task.State{task.Queued, task.Preparing, task.Starting, task.Running, task.Collecting, task.Succeeded, task.Failed, task.Cancelled} {
		gauge(c.runs, float64(y.Runs[s]), string(s))
	}
	age := 0.0
	if len(queued) > 0 {
		age = max(0, c.now().Sub(queued[0].CreatedAt).Seconds())
	}
	gauge(c.oldest, age)
	gauge(c.slots, float64(y.Slots))
	gauge(c.busy, float64(y.Busy))
	for d, r := range map[*prometheus.Desc]task.Resources{c.capacity: y.Capacity, c.free: y.Free} {
		gauge(d, float64(r.CPU)/1000, "cpus")
		gauge(d, float64(r.Memory), "memory_bytes")
		gauge(d, float64(r.GPUs), "gpus")
	}
	if y.BlobBytes >= 0 {
		gauge(c.blobs, float64(y.BlobBytes))
	}
	if y.FreeBytes >= 0 {
		gauge(c.room, float64(y.FreeBytes))
	}
	alive := 0
	for _, s := range y.Servers {
		if c.now().Sub(s.SeenAt) < 2*time.Minute {
			alive++
		}
	}
	gauge(c.servers, float64(alive))
	drain := 0.0
	if y.Draining {
		drain = 1
	}
	gauge(c.drain, drain)
}
