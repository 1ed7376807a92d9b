package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// idle measures the server before it has done anything else than an import.
func (b *serverBench) idle(ctx context.Context) error {
	// One run, so that the worker has done what every worker does; then time for what a garbage collector gives back.
	if err := b.runByAPI(ctx); err != nil {
		return err
	}
	if err := settle(ctx, time.Duration(b.few(5000))*time.Millisecond); err != nil {
		return err
	}
	b.add(serverFigure{What: "idle server, resident", Figure: resident(b.rig.cmd.Process.Pid), Unit: "MB", Goal: 60, Bound: atMost})
	b.add(serverFigure{What: "its idle worker, resident", Figure: resident(b.rig.worker()), Unit: "MB", Goal: 60, Bound: atMost})
	return nil
}

// settle waits: what is measured next is how things are when nothing happens.
func settle(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// followers has many connections follow the log of one run, which writes a line a second, and measures the server while all of
// them are told each line.
func (b *serverBench) followers(ctx context.Context) (err error) {
	n := b.few(1000)
	run, err := b.rig.client.Submit(ctx, v1.RunRequest{Task: tickTask}, client.SubmitOptions{})
	if err != nil {
		return err
	}
	defer func() {
		_, cerr := b.rig.client.Cancel(context.WithoutCancel(ctx), run.ID)
		if cerr == nil {
			_, cerr = b.rig.client.Wait(context.WithoutCancel(ctx), run.ID)
		}
		err = errors.Join(err, cerr)
	}()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	before := resident(b.rig.cmd.Process.Pid)
	lines := make(chan error, n)
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: 30 * time.Second}).DialContext}
	defer transport.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for range n {
		wg.Go(func() { b.follow(ctx, transport, run.ID, lines) })
	}
	peak := 0.0
	const each = 3 // how many lines everybody must have been told
	for range each * n {
		if err := <-lines; err != nil {
			return err
		}
		peak = max(peak, resident(b.rig.cmd.Process.Pid))
	}
	b.add(serverFigure{What: fmt.Sprintf("server before %d log followers, resident", n), Figure: before, Unit: "MB"})
	b.add(serverFigure{What: fmt.Sprintf("server with %d log followers, resident", n), Figure: peak, Unit: "MB", Goal: 200, Bound: atMost})
	return nil
}

// follow tells of the first lines that a follower gets, and stays.
func (b *serverBench) follow(ctx context.Context, transport http.RoundTripper, id string, lines chan<- error) {
	res, err := b.get(ctx, transport, "/v1/runs/"+id+"/logs?follow=true")
	if err != nil {
		lines <- err
		return
	}
	defer res.Body.Close()
	in := bufio.NewScanner(res.Body)
	for range 3 {
		if !in.Scan() {
			lines <- task.Errorf(task.ReasonEngine, "a follower was cut off: %v", in.Err())
			return
		}
		lines <- nil
	}
	_, _ = io.Copy(io.Discard, res.Body) // until everybody has been told
}

func (b *serverBench) get(ctx context.Context, transport http.RoundTripper, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.rig.url+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+b.rig.token)
	res, err := transport.RoundTrip(r)
	if err == nil && res.StatusCode != http.StatusOK {
		res.Body.Close()
		err = fmt.Errorf("%s: %s", path, res.Status)
	}
	return res, err
}

// connections holds many idle connections, each of which has asked something, and measures what others see of that.
func (b *serverBench) connections(ctx context.Context) error {
	n := b.few(10_000)
	var held []*idleConnection
	defer func() {
		for _, c := range held {
			c.conn.Close()
		}
	}()
	for range n {
		c, err := b.connect(ctx)
		if err != nil {
			return fmt.Errorf("after %d connections: %w", len(held), err)
		}
		held = append(held, c)
	}
	var asked []time.Duration
	for range b.few(50) {
		start := time.Now()
		if err := b.runByAPI(ctx); err != nil {
			return err
		}
		asked = append(asked, time.Since(start))
	}
	memory := resident(b.rig.cmd.Process.Pid)
	answering := 0
	for _, c := range held {
		if c.ask() == nil {
			answering++
		}
	}
	b.add(serverFigure{What: fmt.Sprintf("of %d idle connections, still answered", n), Figure: float64(answering), Goal: float64(n), Bound: atLeast})
	b.add(serverFigure{What: "  server meanwhile, resident", Figure: memory, Unit: "MB"})
	b.add(serverFigure{What: "  run of true through the API meanwhile, p50", Figure: percentile(asked, 50), Unit: "ms"})
	return nil
}

// idleConnection is a connection on which something was asked and answered.
type idleConnection struct {
	conn net.Conn
	in   *bufio.Reader
	host string
}

func (b *serverBench) connect(ctx context.Context) (*idleConnection, error) {
	host := b.rig.url[len("http://"):]
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	c := &idleConnection{conn: conn, in: bufio.NewReaderSize(conn, 512), host: host}
	if err := c.ask(); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *idleConnection) ask() error {
	if err := c.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.conn, "GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n", c.host); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}
