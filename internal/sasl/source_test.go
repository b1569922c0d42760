package sasl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFixedCredentials(t *testing.T) {
	s := Fixed(byPassword("anne", "hunter2"))
	who, err := s.Get(t.Context(), nil)
	if err != nil || who.Credentials().User != "anne" || s.CanRefresh() || s.Kind().Later {
		t.Errorf("%v, %v", who.Credentials(), err)
	}
	if dump := fmt.Sprintf("%+v %#v", s, who); strings.Contains(dump, "hunter2") {
		t.Errorf("the password is shown: %s", dump)
	}
}

// slow is a Source whose function takes a second, and answers how often it was called.
func slow(calls *int, refreshed *int) *Source {
	return Asked(Credentials{}, func(ctx context.Context, refresh bool) (Credentials, error) {
		*calls++
		if refresh {
			*refreshed++
		}
		user := fmt.Sprint(*calls)
		select {
		case <-time.After(time.Second):
			return Credentials{User: user}, nil
		case <-ctx.Done():
			return Credentials{}, context.Cause(ctx)
		}
	})
}

func TestOneCallServesAllThatAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, refreshed int
		s := slow(&calls, &refreshed)
		if !s.Kind().Later || !s.CanRefresh() {
			t.Errorf("%v is not asked for", s.Kind())
		}
		answers := make(chan Answer)
		get := func(refused *Answer) {
			who, err := s.Get(t.Context(), refused)
			if err != nil {
				t.Error(err)
			}
			answers <- who
		}
		for range 5 {
			go get(nil)
		}
		first := <-answers
		for range 4 {
			<-answers
		}
		if calls != 1 || first.Credentials().User != "1" {
			t.Errorf("%d calls, the answer of the first is %v", calls, first.Credentials())
		}
		for range 5 {
			go get(&first) // it was refused
		}
		second := <-answers
		for range 4 {
			<-answers
		}
		if calls != 2 || refreshed != 1 || second.Credentials().User != "2" {
			t.Errorf("%d calls, %d to refresh, then %v", calls, refreshed, second.Credentials())
		}
		go get(&first) // whoever comes late to the same refusal gets what is fresh
		if third := <-answers; calls != 2 || third.Credentials().User != "2" {
			t.Errorf("%d calls, then %v", calls, third.Credentials())
		}
	})
}

// Somebody who asks for fresh credentials does not do with the answer to a call that was not about that.
func TestARefreshWaitsForItsOwnCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, refreshed int
		s := slow(&calls, &refreshed)
		go s.Get(t.Context(), nil)
		synctest.Wait()
		who, err := s.Get(t.Context(), &Answer{})
		if err != nil || calls != 2 || refreshed != 1 || who.Credentials().User != "2" {
			t.Errorf("%d calls, %d to refresh, %v, %v", calls, refreshed, who.Credentials(), err)
		}
	})
}

// The context of one of those that wait says nothing about the others.
func TestAContextEndsOnlyItsOwnWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, refreshed int
		s := slow(&calls, &refreshed)
		short, cancel := context.WithTimeoutCause(t.Context(), time.Second/2, errors.New("late"))
		defer cancel()
		failed := make(chan error, 2)
		go func() { _, err := s.Get(short, nil); failed <- err }() // its call is dropped
		synctest.Wait()
		go func() { _, err := s.Get(short, nil); failed <- err }()
		who, err := s.Get(t.Context(), nil)
		if err != nil || calls != 2 || who.Credentials().User != "2" {
			t.Errorf("%d calls, %v", calls, err)
		}
		for range 2 {
			if err := <-failed; err == nil || err.Error() != "late" {
				t.Errorf("%v, want late", err)
			}
		}
	})
}

func TestTheKindOfCredentialsByTheMechanisms(t *testing.T) {
	for list, want := range map[string]string{
		"":                         "password",
		"plain SCRAM-SHA-256":      "password",
		"XOAUTH2 oauthbearer":      "token",
		"external XOAUTH2":         "token",
		"PLAIN XOAUTH2":            "PLAIN takes a password, and others there an OAuth token: name one kind",
		"PLAIN telepathy":          `"telepathy" is not known; known are `,
		"telepathy PLAIN XOAUTH2 ": `"telepathy" is not known; known are `,
	} {
		kind, err := KindFor(strings.Fields(list))
		got := map[bool]string{true: "token", false: "password"}[kind.Token]
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s, want %s", list, got, want)
		}
	}
}

func TestFitAny(t *testing.T) {
	for list, fits := range map[string]bool{"": true, "xoauth2 plain": true, "XOAUTH2 EXTERNAL": false} {
		err := byPassword("anne", "hunter2").FitAny(strings.Fields(list))
		if (err == nil) != fits {
			t.Errorf("%q: %v", list, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "EXTERNAL: ") {
			t.Errorf("%q: %v; want the mechanism named", list, err)
		}
	}
}
