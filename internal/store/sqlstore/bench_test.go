package sqlstore_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"longshore/internal/store/sqlstore"
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

// BenchmarkMillion asks for lists, counts and sums where 1,000,000 runs have ended and 50,000 wait, and compares submission with and
// without that being asked. Run it with -benchtime=1x: each question is asked twenty times.
func BenchmarkMillion(b *testing.B) {
	databases(b, func(b *testing.B, s *sqlstore.DB) {
		now := time.Now()
		begin := time.Now()
		if err := storetest.Fill(b.Context(), s, now, 1_000_000, 50_000); err != nil {
			b.Fatal(err)
		}
		b.Logf("filled in %s", time.Since(begin))
		for b.Loop() {
			questions(b, s, now)
		}
		storetest.BenchmarkOwned(b, s, 64)
	})
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
