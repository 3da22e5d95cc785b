package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"perigee/config"
)

type configCmd struct {
	Check   configCheckCmd   `cmd:"" help:"Name every mistake of the configuration, with file, line and key."`
	Show    configShowCmd    `cmd:"" help:"Print the configuration in effect, secrets masked."`
	Default configDefaultCmd `cmd:"" help:"Print the commented default configuration, to begin a perigee.yaml with."`
}

type configCheckCmd struct{}

// Run checks the configuration as a start would, and changes nothing.
func (c *configCheckCmd) Run(a *app) error {
	cfg, err := a.load()
	if err == nil {
		if _, serr := os.Stat(filepath.Join(cfg.Data, "secrets.json")); !errors.Is(serr, fs.ErrNotExist) {
			var s config.SecretSet
			if s, err = config.Secrets(cfg.Data); err == nil {
				cfg.UseSecrets(s)
			}
		}
	}
	if err == nil {
		err = cfg.Validate()
	}
	var ms config.Mistakes
	switch {
	case a.JSON && errors.As(err, &ms):
		type mistake struct {
			Where   string `json:"where,omitempty"`
			Key     string `json:"key,omitempty"`
			Problem string `json:"problem"`
		}
		list := []mistake{}
		for _, m := range ms {
			list = append(list, mistake(m))
		}
		return errors.Join(a.printJSON(map[string]any{"ok": false, "mistakes": list}), failed(1))
	case err != nil:
		return err
	case a.JSON:
		return a.printJSON(map[string]any{"ok": true})
	}
	fmt.Fprintln(a.stdout, "The configuration is right.")
	return nil
}

type configShowCmd struct {
	Origins bool `help:"Say behind each value where it comes from."`
}

// Run shows the configuration, also one that Validate would refuse.
func (c *configShowCmd) Run(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if a.JSON {
		m, err := cfg.Map()
		if err != nil {
			return err
		}
		return a.printJSON(m)
	}
	text, err := cfg.YAML(c.Origins)
	if err != nil {
		return err
	}
	fmt.Fprint(a.stdout, text)
	return nil
}

type configDefaultCmd struct{}

// Run prints the defaults.
func (c *configDefaultCmd) Run(a *app) error {
	if a.JSON {
		m, err := config.Default().Map()
		if err != nil {
			return err
		}
		return a.printJSON(m)
	}
	fmt.Fprint(a.stdout, config.DefaultYAML)
	return nil
}
