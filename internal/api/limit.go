package api

import (
	"sync"
	"time"
)

// limiter gives everybody rate requests a second on average, burst at once. It remembers those who are not at rest, and at most
// maxBuckets of them.
type limiter struct {
	rate  float64
	burst float64
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

const maxBuckets = 100_000

// newLimiter makes a limiter; a negative rate does not limit.
func newLimiter(rate float64, burst int, now func() time.Time) *limiter {
	return &limiter{rate: rate, burst: float64(max(1, burst)), now: now, buckets: map[string]*bucket{}}
}

// take uses up one request of somebody's, and answers how long to wait when there is none.
func (l *limiter) take(who string) time.Duration {
	if l.rate < 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.buckets[who]
	if b == nil {
		l.sweep(now)
		b = &bucket{left: l.burst, at: now}
		l.buckets[who] = b
	}
	b.left = min(l.burst, b.left+max(0, now.Sub(b.at).Seconds())*l.rate)
	b.at = now
	if b.left < 1 {
		return time.Duration((1 - b.left) / l.rate * float64(time.Second))
	}
	b.left--
	return 0
}

// sweep makes room: whoever could use everything again is forgotten, and when that is not enough, everybody.
func (l *limiter) sweep(now time.Time) {
	if len(l.buckets) < maxBuckets {
		return
	}
	for who, b := range l.buckets {
		if b.left+now.Sub(b.at).Seconds()*l.rate >= l.burst {
			delete(l.buckets, who)
		}
	}
	if len(l.buckets) >= maxBuckets {
		clear(l.buckets)
	}
}
