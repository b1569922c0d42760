package seats

import (
	"slices"
	"time"

	"github.com/postrider/postrider/internal/pace"
)

// Server is one server, and how it fares.
type Server struct {
	Key      string // the same for the same server in the next answer to a look-up
	Priority int    // lower ones first
	Weight   int    // among those of one priority, at least 1

	host     Host
	source   *Source
	credit   int // of the weights, see chooseAmong
	health   pace.Health
	limit    pace.Limit
	throttle throttleSample
	served   int   // messages that it answered
	err      error // why it is down
	welcomed bool  // it has let us in, and not refused the credentials since
}

// Host is what NewServer was given.
func (srv *Server) Host() Host { return srv.host }

// refused reports that it has refused our credentials, and is not to be asked again yet.
func (srv *Server) refused() bool {
	_, err := srv.host.LoginRefused()
	return err != nil
}

// Limit is how many connections it gets at most, as things are.
func (srv *Server) Limit() int { return srv.limit.Now() }

// Down reports whether it is left alone at that time, or being tried after that; until when, and why.
func (srv *Server) Down(now time.Time) (down bool, until time.Time, err error) {
	if srv.health.At(now) == pace.Up {
		return false, time.Time{}, nil
	}
	return true, srv.health.Until(), srv.err
}

// Source is where servers come from: a configuration that names one itself, or a domain whose SRV records name them.
type Source struct {
	Domain   string // "": no SRV
	Priority int    // lower ones first
	Weight   int    // at least 1

	lookedUp time.Time
	stale    bool  // a server has failed since
	err      error // why there is no answer yet
}

// How long SRV records are not looked up again, even if a server fails, and how long after a look-up that failed.
const (
	keepSRV  = time.Minute
	retrySRV = 5 * time.Second
)

// Due reports that the source's domain is to be looked up.
func (src *Source) Due(now time.Time) bool {
	keep := keepSRV
	if src.err != nil {
		keep = retrySRV
	}
	return src.Domain != "" && (src.lookedUp.IsZero() || src.stale && now.Sub(src.lookedUp) >= keep)
}

// sourceStep is the distance of two sources' priorities; between them lie those of SRV records.
const sourceStep = 1 << 20

// NewServer returns a server of a source, which is not used before Add or Replace. The priority among those of the
// source comes on top of the source's.
func (s *Scheduler) NewServer(src *Source, key string, host Host) *Server {
	return &Server{
		Key: key, host: host, source: src, Priority: src.Priority * sourceStep, Weight: src.Weight,
		limit: pace.Limit{Max: s.max},
	}
}

// Add adds a source, with its server if that is known already.
func (s *Scheduler) Add(src *Source, servers ...*Server) {
	s.sources = append(s.sources, src)
	s.setServers(append(s.servers, servers...))
}

func (s *Scheduler) setServers(all []*Server) {
	slices.SortStableFunc(all, func(a, b *Server) int { return a.Priority - b.Priority })
	s.servers = all
}

// Replace takes the answer of a look-up, or its error. Servers that were there before keep what is known of them;
// those that are gone get no more mail.
func (s *Scheduler) Replace(src *Source, fresh []*Server, err error) {
	src.lookedUp, src.stale, src.err = time.Now(), err != nil, err
	if err != nil {
		return
	}
	var all []*Server
	for _, srv := range s.servers {
		i := slices.IndexFunc(fresh, func(f *Server) bool { return f.Key == srv.Key })
		switch {
		case srv.source != src:
			all = append(all, srv)
		case i >= 0:
			srv.Priority, srv.Weight = fresh[i].Priority, fresh[i].Weight
			fresh[i] = srv
		}
	}
	s.setServers(append(all, fresh...))
	for _, seat := range slices.Clone(s.seats) {
		s.retireUnlisted(seat)
	}
}
