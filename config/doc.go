// Package config is the one configuration of all roles: the file perigee.yaml, the environment and --set.
//
// default.yaml, inside the binary, is both the reference of every key and the defaults themselves. Load lays the
// operator's file over it, then the environment, then --set, and only then reads the values, so that every
// mistake is named where it was made: file and line, variable, or flag. All mistakes are reported at once.
//
// The package parses and checks. It opens no listener and connects to nothing; libraries do not read it: commands
// hand each of them the few values it needs. A Config is not changed after Load but by UseSecrets.
package config
