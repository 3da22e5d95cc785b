package config

import (
	"errors"
	"fmt"
	"reflect"

	"perigee/dnsgeo/steer"
)

// ReadPolicy reads the file of dns.policy: how clients are sent to edges. Durations are written as text, such as step: 5ms. The error, if not one of reading the file, is Mistakes.
func ReadPolicy(path string) (*steer.Policy, error) {
	var p *steer.Policy
	err := readTable(path, reflect.TypeFor[steer.Rules](), func(entry []byte) (err error) {
		var r steer.Rules
		if err := unmarshalEntry(entry, &r); err != nil {
			return err
		}
		p, err = steer.NewPolicy(r)
		return err
	})
	if err == nil && p == nil { // an empty file
		p, err = steer.NewPolicy(steer.Rules{})
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// policy checks the file of dns.policy.
func (v validator) policy(path string) {
	if path == "" {
		return
	}
	_, err := ReadPolicy(path)
	var ms Mistakes
	switch {
	case errors.As(err, &ms):
		*v.ms = append(*v.ms, ms...)
	case err != nil:
		v.bad("dns.policy", "%v", fmt.Errorf("it cannot be read: %w", err))
	}
}
