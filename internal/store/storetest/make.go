package storetest

import (
	"time"

	"longshore/internal/store"
	"longshore/internal/store/storeload"
)

// start is when the suite's time begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newRun(at time.Time) store.Run { return storeload.Run(at) }

func ended(r store.Run) store.Run { return storeload.Ended(r) }
