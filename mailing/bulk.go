package mailing

import (
	"iter"
	"slices"
	"strings"

	"github.com/postrider/postrider"
)

// Bulk is Mailman's plan for a list: chunks of at most max recipients that share one message, grouped by region of the
// world, because recipients who share a top-level domain are likely to share a server (fact 109). The regions are com;
// net and org; edu, us and ca; and the rest. The largest region comes first, and of two equal ones that which was seen
// first; a new region begins a new chunk. Within a chunk the order is the caller's, and duplicates are kept. A max of 0
// or less makes one chunk of all.
func Bulk(max int) Plan {
	return func(m *postrider.Message) (iter.Seq[Part], error) {
		if max <= 0 {
			return Whole(m)
		}
		groups := grouped(m.To, region)
		slices.SortStableFunc(groups, func(a, b []int) int { return len(b) - len(a) })
		return inChunks(m, cut(groups, max)), nil
	}
}

// ByDomain is a plan of chunks of at most max recipients, all of one domain: an MTA then delivers each onward as it
// came. The order of domains is that of their first recipients. A max of 0 or less sets no limit.
func ByDomain(max int) Plan {
	return func(m *postrider.Message) (iter.Seq[Part], error) {
		return inChunks(m, cut(grouped(m.To, canonicalDomain), max)), nil
	}
}

// region is Mailman's bucket of an address: the part of the domain after its last dot, in lower case only, where the
// domain is what follows the first @. Anything else is the rest.
func region(address string) string {
	_, domain, _ := strings.Cut(address, "@")
	switch tld := domain[strings.LastIndexByte(domain, '.')+1:]; tld {
	case "com":
		return "com"
	case "net", "org":
		return "net, org"
	case "edu", "us", "ca":
		return "edu, us, ca"
	}
	return ""
}

// canonicalDomain is the domain as it is compared.
func canonicalDomain(address string) string {
	_, domain := splitAddress(address)
	if ascii, err := asciiDomain(domain); err == nil {
		return ascii
	}
	return strings.ToLower(domain)
}

// grouped returns the places of recipients with the same key, in the order of the first of each.
func grouped(to []string, key func(string) string) (groups [][]int) {
	place := map[string]int{}
	for i, address := range to {
		k := key(address)
		g, ok := place[k]
		if !ok {
			g = len(groups)
			place[k] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

// cut cuts each group into chunks.
func cut(groups [][]int, max int) (chunks [][]int) {
	for _, g := range groups {
		if max <= 0 {
			chunks = append(chunks, g)
			continue
		}
		chunks = slices.AppendSeq(chunks, slices.Chunk(g, max))
	}
	return chunks
}
