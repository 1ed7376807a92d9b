package sqlstore_test

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"longshore/internal/store/sqlstore"
	"longshore/internal/store/storeload"
	"longshore/internal/store/storetest"
)

// databases opens one of each kind, with commits that wait for the disk.
func databases(b *testing.B, use func(b *testing.B, s *sqlstore.DB)) {
	open := func(b *testing.B, name string) *sqlstore.DB {
		s, err := sqlstore.Open(b.Context(), name)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		return s
	}
	b.Run("sqlite", func(b *testing.B) { use(b, open(b, filepath.Join(b.TempDir(), "db"))) })
	b.Run("postgres", func(b *testing.B) { use(b, open(b, storetest.StartPostgres(b, true).Database(b))) })
}

func BenchmarkQueue(b *testing.B) {
	databases(b, func(b *testing.B, s *sqlstore.DB) { storetest.BenchmarkQueue(b, s, 256) })
}

func BenchmarkOwned(b *testing.B) {
	databases(b, func(b *testing.B, s *sqlstore.DB) { storetest.BenchmarkOwned(b, s, 256) })
}

// BenchmarkMillion asks for lists, counts and sums where 1,000,000 runs have ended and 50,000 wait, and measures submission with and
// without that being asked. Run it with -benchtime=1x: each question is asked twenty times.
func BenchmarkMillion(b *testing.B) {
	databases(b, func(b *testing.B, s *sqlstore.DB) {
		now := time.Now()
		if err := storeload.Fill(b.Context(), s, now, 1_000_000, 50_000, nil); err != nil {
			b.Fatal(err)
		}
		b.Logf("filled in %s", time.Since(now))
		for b.Loop() {
			questions(b, s, now)
		}
		alone := rate(b, s)
		stop := make(chan struct{})
		var asking sync.WaitGroup
		asking.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				list := storetest.Questions(now)
				if err := list[i%len(list)].Ask(b.Context(), s); err != nil {
					b.Error(err)
				}
			}
		})
		asked := rate(b, s)
		close(stop)
		asking.Wait()
		b.ReportMetric(alone, "runs/s")
		b.ReportMetric(asked, "runs/s-while-asked")
	})
}

// rate is how many runs a second go from submission to end.
func rate(b *testing.B, s *sqlstore.DB) float64 {
	const runs = 20_000
	begin := time.Now()
	if err := storetest.Drive(b.Context(), s, 64, runs); err != nil {
		b.Fatal(err)
	}
	return runs / time.Since(begin).Seconds()
}

func questions(b *testing.B, s *sqlstore.DB, now time.Time) {
	const times = 20
	var slowest time.Duration
	for _, q := range storetest.Questions(now) {
		var took []time.Duration
		for range times {
			begin := time.Now()
			if err := q.Ask(b.Context(), s); err != nil {
				b.Fatalf("%s: %v", q.Name, err)
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		p95 := took[times*95/100-1]
		slowest = max(slowest, p95)
		b.Logf("%-32s p50 %8.2f ms   p95 %8.2f ms", q.Name, ms(took[times/2]), ms(p95))
	}
	b.ReportMetric(ms(slowest), "ms-p95-slowest")
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
