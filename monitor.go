package postrider

import (
	"sync"
	"time"

	"github.com/postrider/postrider/internal/ring"
)

// monitor is the lock of a Connection and of its wire. There is one way to unlock it,
// and that tells what was settled meanwhile: first the hooks, then the Send that waits.
// So nobody is told with it held, and nobody is forgotten.
type monitor struct {
	mu      sync.Mutex
	settled []settlement
	observe func(settlement) // to the hooks
}

// settlement is what was decided under the lock, for those who want to hear of it.
type settlement struct {
	told     Transaction
	took     time.Duration
	outcomes []Outcome
	done     *delivery // nil: its Send still waits for more
	quit     *quit     // that has ended; nil: none
	fallback string    // not a transaction, but a server's fault that was recognised
}

// Lock begins a critical section.
func (m *monitor) Lock() { m.mu.Lock() }

// Unlock ends it, and tells what was settled in it.
func (m *monitor) Unlock() {
	settled := m.settled
	m.settled = nil
	m.mu.Unlock()
	for _, s := range settled {
		m.observe(s)
		if s.done != nil {
			s.done.told.Store(true)
			ring.Signal(s.done.done)
		}
		if s.quit != nil {
			ring.Signal(s.quit.done)
		}
	}
}

// noteLocked has Unlock tell of s.
func (m *monitor) noteLocked(s settlement) { m.settled = append(m.settled, s) }

// owesLocked reports that something is to be told.
func (m *monitor) owesLocked() bool { return len(m.settled) > 0 }
