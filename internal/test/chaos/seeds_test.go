package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/ci"
	"go.uber.org/goleak"
)

var (
	seedFlag    = flag.Uint64("seed", 0, "run this seed only")
	seedsFlag   = flag.Int("seeds", 0, "run so many seeds")
	firstFlag   = flag.Uint64("first", 1, "the first seed")
	minutesFlag = flag.Float64("minutes", 0, "run seeds for so long")
)

// A goroutine that outlives the tests fails them.
func TestMain(m *testing.M) {
	flag.Parse()
	serverTLS()
	goleak.VerifyTestMain(m)
}

func seeds() (first uint64, n int) {
	switch {
	case *seedFlag > 0:
		return *seedFlag, 1
	case *seedsFlag > 0:
		return *firstFlag, *seedsFlag
	case *minutesFlag > 0:
		return *firstFlag, 1 << 40
	case raced:
		return *firstFlag, 20
	case ci.On():
		return *firstFlag, 300
	}
	return *firstFlag, 40
}

// Whatever servers and clients do, each outcome is true.
func TestSeeds(t *testing.T) {
	first, n := seeds()
	all := newTally()
	start := time.Now()
	for i := 0; i < n && (*minutesFlag == 0 || time.Since(start).Minutes() < *minutesFlag); i++ {
		seed := first + uint64(i)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			var w *world
			synctest.Test(t, func(t *testing.T) { w = chaos(t, seed) })
			all.add(w)
			verdict(t, w)
		})
	}
	t.Logf("%v in %v", all, time.Since(start).Round(time.Millisecond))
}

func verdict(t *testing.T, w *world) {
	if len(w.failures) > 0 {
		t.Error(w.report())
	}
	if len(w.failures) > 0 && testing.Verbose() && *seedFlag > 0 {
		t.Log(w.transcripts())
	}
}

// chaos is one run.
func chaos(t *testing.T, seed uint64) *world {
	r := &run{w: newWorld(seed), rnd: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir()}
	servers := 1
	pooled := r.rnd.IntN(2) == 0
	if pooled {
		servers = 1 + r.rnd.IntN(3)
	}
	var configs []postrider.Config
	for i := range servers {
		m := r.server(i)
		configs = append(configs, r.config(m, r.nets[i]))
	}
	for i := range 5 + r.rnd.IntN(40) {
		r.letters = append(r.letters, r.w.draw(r.rnd, i, r.dir))
	}
	r.open(t, pooled, configs)
	r.underway(t)
	for i, l := range r.nets {
		l.Close()
		r.w.servers[i].conns.Wait()
	}
	r.w.judge()
	r.counters()
	return r.w
}

func (r *run) open(t *testing.T, pooled bool, configs []postrider.Config) {
	var err error
	if pooled {
		cfg := postrider.PoolConfig{MaxConnections: 1 + r.rnd.IntN(6)}
		weights := [][]int{make([]int, len(configs)), {2, 1, 1}}[r.rnd.IntN(2)]
		for i := range configs {
			configs[i].Weight = weights[i]
		}
		r.pool, err = postrider.NewPool(cfg, configs...)
	} else {
		r.conn, err = postrider.NewConnection(configs[0])
	}
	if err != nil {
		t.Fatal(err)
	}
}

// underway sends everything, and watches that it ends.
func (r *run) underway(t *testing.T) {
	sent, quiet := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sent)
		if r.conn != nil && r.rnd.IntN(4) == 0 {
			r.sendAll(r.letters, patience(r.rnd))
		} else {
			r.callers()
		}
	}()
	go func() {
		defer close(quiet)
		r.disturb(sent)
		<-sent
		if r.conn != nil {
			r.quit(time.Minute)
		}
		r.end(time.Minute)
	}()
	for _, l := range r.letters {
		if l.block != nil {
			time.AfterFunc(20*time.Hour, func() { close(l.block) })
		}
	}
	select {
	case <-quiet:
	case <-time.After(100 * 3 * time.Hour):
		r.hang(t, quiet)
	}
	time.Sleep(21 * time.Hour) // the blocked readers' end
}

// hang says that something does not return, and tears all down.
func (r *run) hang(t *testing.T, quiet chan struct{}) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	r.w.violated("hung", "a call has not returned:\n%s", stacks)
	for _, tap := range r.w.taps {
		tap.Abort()
	}
	select {
	case <-quiet:
	case <-time.After(time.Hour):
		t.Fatal(r.w.report())
	}
}

// counters: what Stats counts is what the Sends were told.
func (r *run) counters() {
	var s postrider.Stats
	if r.pool != nil {
		s = r.pool.Stats().Stats
	} else {
		s = r.conn.Stats()
	}
	got := map[postrider.State]int64{postrider.Accepted: s.Accepted, postrider.Deferred: s.Deferred,
		postrider.Refused: s.Refused,
		postrider.Untried: s.Untried, postrider.Unknown: s.Unknown}
	told := map[postrider.State]int64{}
	for _, l := range r.w.letters {
		for _, one := range l.sends {
			if one.result != nil {
				for _, o := range one.result.Outcomes {
					told[o.State]++
				}
			}
		}
	}
	for state := range got {
		if got[state] != told[state] {
			r.w.violated("counters", "Stats counts %d %v, and the Sends were told %d", got[state], state, told[state])
		}
	}
	if s.Open || s.InFlight != 0 || s.Queued != 0 {
		r.w.violated("counters", "left behind: %+v", s)
	}
}
