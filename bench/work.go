package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"
)

// load is a client under measurement.
type load interface {
	// open connects, if there is to be more than one message on a connection,
	// and sends a first one to one recipient on each. It says how many.
	open() (sent int, err error)
	// run sends while the clock says more.
	run(c *clock) error
	close()
}

// work is the life of a client's process: an empty tally when it is ready, then a
// job a line from in, a tally a line to out, until in ends.
func work(in io.Reader, out io.Writer) error {
	jobs, tallies := json.NewDecoder(in), json.NewEncoder(out)
	if err := tallies.Encode(tally{}); err != nil {
		return err
	}
	for {
		var j job
		if err := jobs.Decode(&j); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		t, err := perform(&j)
		if err != nil {
			t.Error = err.Error()
		}
		if err := tallies.Encode(t); err != nil {
			return err
		}
	}
}

// perform does one job. Neither connecting nor leaving counts, except where each
// message has a connection of its own.
func perform(j *job) (t tally, err error) {
	l, err := newLoad(j)
	if err != nil {
		return t, err
	}
	defer l.close()
	if t.First, err = l.open(); err != nil {
		return t, fmt.Errorf("before the run: %w", err)
	}
	if j.Heap {
		sent, grown, err := runForHeap(l)
		if t.First, t.Heap = t.First+sent, grown; err != nil {
			return t, err
		}
	}
	stop, err := profile(j.Profile)
	if err != nil {
		return t, err
	}
	defer stop()
	runtime.GC()
	start, cpu := time.Now(), cpuTime()
	c := &clock{end: start.Add(time.Duration(j.Seconds * float64(time.Second)))}
	err = l.run(c)
	t.Messages, t.Seconds = int(c.sent.Load()), time.Since(start).Seconds()
	t.CPU = (cpuTime() - cpu).Seconds()
	return t, err
}

// runForHeap says how far the heap grows in a short run. The collector works four
// times as hard in it as by default, so that what is seen is what is needed and
// not what was left lying: a heap of less than 4 MiB is not collected by default.
func runForHeap(l load) (sent int, grown int64, err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	runtime.GC()
	heap := watchHeap()
	c := &clock{end: time.Now().Add(100 * time.Millisecond)}
	err = l.run(c)
	return int(c.sent.Load()), max(1, heap()), err // 0 would be: not measured
}

// cpuTime is what this process has used so far, in user and system mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// profile begins a CPU profile and returns the function that ends it.
func profile(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}

// watchHeap looks at the heap every millisecond, garbage included; the function
// that it returns shows how far it grew.
func watchHeap() (grown func() int64) {
	before := heapNow()
	largest := before
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				largest = max(largest, heapNow())
			case <-done:
				return
			}
		}
	})
	return func() int64 {
		close(done)
		watching.Wait()
		return max(largest, heapNow()) - before
	}
}

// heapNow is what lives and what was not swept yet, without stopping the world.
func heapNow() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
