package smtptest

// ConnectionCount is how many TCP connections were accepted since the start, the
// last Reset, or the last RSET of a client that had said nothing else: Mailman's
// tests reset the count of their server by such a client, which does not count
// itself. A RSET inside a dialogue resets nothing.
func (s *Server) ConnectionCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counted
}

// Reset sets ConnectionCount to 0. The numbers of connections go on.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted = 0
}

// uncount takes one connection out of the count, and gives the count.
func (s *Server) uncount(connections int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted = max(0, s.counted-connections)
	return s.counted
}

// MostConnections is how many connections were open at the same time at the most,
// without those that were turned away by MaxConnections.
func (s *Server) MostConnections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// Transactions is how many MAIL commands were accepted since the start.
func (s *Server) Transactions() int { return int(s.taken.Load()) }

// Commands is how many commands of that verb came since the start, refused ones
// included. The words of [Fault.Command] are understood, "" is every command.
func (s *Server) Commands(verb string) int {
	if verb != "" {
		return int(s.verbs[verbByName(verb)].Load())
	}
	sum := int64(0)
	for v := range pointGreeting {
		sum += s.verbs[v].Load()
	}
	return int(sum)
}

// Credentials gives what successful AUTH commands carried, as it was received,
// in base64: for AUTH PLAIN its one response, for others all responses with
// spaces between. They are here and nowhere else: transcripts hide them.
func (s *Server) Credentials() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.credentials...)
}
