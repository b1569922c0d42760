package smtptest

// ConnectionCount returns how many connections were accepted since the start, since the last Reset, or since a client
// last sent RSET as its first command. Mailman's tests reset the count of their server with such a client, which is not
// counted itself. RSET after any other command resets nothing.
func (s *Server) ConnectionCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counted
}

// Reset sets ConnectionCount to 0. New connections are numbered on from the last.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted = 0
}

// uncount takes connections out of the count, and returns the count.
func (s *Server) uncount(connections int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted = max(0, s.counted-connections)
	return s.counted
}

// MostConnections returns the largest number of connections that were open at the same time, without those refused
// because of MaxConnections.
func (s *Server) MostConnections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// Transactions returns how many MAIL commands were accepted since the start.
func (s *Server) Transactions() int { return int(s.taken.Load()) }

// Commands returns how many commands with this verb were received since the start, refused ones included. The verb may
// be any value of [Fault.Command]; "" counts every command.
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

// Credentials returns the responses of successful AUTH commands as received, in base64: one response for PLAIN, all
// responses joined with spaces for other mechanisms. Transcripts do not show them.
func (s *Server) Credentials() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.credentials...)
}
