package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/mattn/go-isatty"

	"perigee/client"
	"perigee/clock"
	"perigee/config"
)

// cli is the command line. Each command is a struct with a method Run(*app) error.
type cli struct {
	globals

	Up      upCmd       `cmd:"" group:"run" help:"Run everything on this machine: storage, bus, API, console, DNS and three edges."`
	Upload  uploadCmd   `cmd:"" group:"run" help:"Run the API and the console."`
	Edge    edgeCmd     `cmd:"" group:"run" help:"Run one edge."`
	DNS     dnsCommands `cmd:"" group:"run" name:"dns" help:"Run the DNS server; keys: its DNSSEC keys."`
	Bus     busCmd      `cmd:"" group:"run" help:"Run the embedded NATS server."`
	Storage storageCmd  `cmd:"" group:"run" help:"Run the embedded S3 server."`

	Put     putCmd     `cmd:"" group:"files" help:"Publish a file or a directory."`
	Ls      lsCmd      `cmd:"" group:"files" help:"List published files."`
	Rm      rmCmd      `cmd:"" group:"files" help:"Delete published files."`
	Purge   purgeCmd   `cmd:"" group:"files" help:"Purge caches, and prove it."`
	Erase   eraseCmd   `cmd:"" group:"files" help:"Destroy what was published, everywhere, and prove it."`
	GC      gcCmd      `cmd:"" name:"gc" group:"operate" help:"Delete bytes that nothing refers to any more, or say what would go."`
	Explain explainCmd `cmd:"" group:"files" help:"Say which edge a client gets for a path, and why."`

	Fleet   fleetCmd        `cmd:"" group:"operate" help:"List, drain and undrain nodes."`
	Sites   sitesCmd        `cmd:"" group:"operate" help:"List and make sites, set what they may use."`
	Watches watchesCmd      `cmd:"" group:"operate" help:"Say how bucket sites are watched."`
	Keys    keysCmd         `cmd:"" group:"operate" help:"Create, list and revoke API keys, over the API or on its machine."`
	Audit   auditCmd        `cmd:"" group:"operate" help:"Show who changed what."`
	Catalog catalogCommands `cmd:"" group:"operate" help:"Show the servers of the catalogue, and move what they have."`
	Geo     geoCmd          `cmd:"" group:"operate" help:"Build, describe and ask GeoIP tables."`
	Config  configCmd       `cmd:"" group:"operate" help:"Check and show the configuration."`
	Doctor  doctorCmds      `cmd:"" group:"operate" help:"Check that everything can be reached, and say what to do if not; s3: try the bucket."`
	Sim     simCmd          `cmd:"" group:"operate" help:"Replay a trace through the cache policy, beside those it is measured against."`
	Health  healthCmd       `cmd:"" group:"operate" help:"Ask a health URL; the exit status is the answer. For containers."`
	Version versionCmd      `cmd:"" group:"operate" help:"Print the version."`
}

// globals are the flags of every command.
type globals struct {
	ConfigFile string   `name:"config" short:"c" placeholder:"FILE" help:"Configuration file; else PERIGEE_CONFIG, else perigee.yaml if it is there."`
	Set        []string `sep:"none" placeholder:"KEY=VALUE" help:"Set a key of the configuration, such as api.listen=127.0.0.1:8080; may be repeated."`
	Data       string   `placeholder:"DIR" help:"Data directory; the same as --set data=DIR."`
	JSON       bool     `name:"json" help:"Print results as JSON."`
}

// app is what a command gets: the process around it, and the global flags.
type app struct {
	globals
	ctx            context.Context
	env            []string
	stdin          io.Reader
	stdout, stderr io.Writer
	clock          clock.Clock

	// calls are the clients of this run.
	calls []*call
}

// groups are the headings of the help.
var groups = []kong.Group{
	{Key: "run", Title: "Run:"}, {Key: "files", Title: "Files:"}, {Key: "operate", Title: "Operate:"},
}

// run is the whole program: it returns the exit status.
func run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c cli
	exited := -1 // set by --help, which has printed all there is to say
	k, err := kong.New(&c, kong.Name("perigee"), kong.Description("A self-hosted CDN in one binary."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }), kong.ExplicitGroups(groups),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		panic("perigee: the command line does not describe itself: " + err.Error())
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	cmd, err := k.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "perigee: %v\nperigee --help lists the commands; perigee COMMAND --help its flags.\n", err)
		return 2
	}
	a := &app{globals: c.globals, ctx: ctx, env: env, stdin: stdin, stdout: stdout, stderr: stderr, clock: clock.System}
	code := a.report(cmd.Run(a))
	a.remember()
	return code
}

// failed is the error of a command that has said what went wrong; only the exit status is left to set.
type failed int

// Error is never shown.
func (f failed) Error() string { return fmt.Sprintf("exit status %d", int(f)) }

// report tells err and returns the exit status.
func (a *app) report(err error) int {
	var f failed
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f):
		return int(f)
	case errors.Is(err, context.Canceled) && a.ctx.Err() != nil:
		fmt.Fprintln(a.stderr, "perigee: interrupted")
		return 130
	}
	if a.JSON {
		out := map[string]any{"error": err.Error()}
		var p *client.Problem
		if errors.As(err, &p) {
			out["problem"] = p
		}
		b, merr := json.Marshal(out)
		if merr != nil {
			panic("perigee: an error always marshals: " + merr.Error())
		}
		fmt.Fprintf(a.stderr, "%s\n", b)
		return 1
	}
	var ms config.Mistakes
	if errors.As(err, &ms) {
		fmt.Fprintf(a.stderr, "%v\n", err)
		return 1
	}
	fmt.Fprintf(a.stderr, "perigee: %v\n", err)
	return 1
}

// configFile returns the configuration file, "" if there is none.
func (a *app) configFile() string {
	if a.ConfigFile != "" {
		return a.ConfigFile
	}
	if file := a.lookup("PERIGEE_CONFIG"); file != "" {
		return file
	}
	if _, err := os.Stat("perigee.yaml"); err == nil {
		return "perigee.yaml"
	}
	return ""
}

// load returns the configuration; sets come from a command's own flags and win over everything.
func (a *app) load(sets ...string) (*config.Config, error) {
	all := append([]string{}, a.Set...)
	if a.Data != "" {
		all = append(all, "data="+a.Data)
	}
	return config.Load(a.configFile(), a.env, append(all, sets...))
}

// lookup returns a variable of the environment, "" if it is not set.
func (a *app) lookup(name string) string {
	for _, kv := range a.env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// printJSON prints one JSON document.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// sleep waits for d, or for the end of ctx, whose error it then returns.
func (a *app) sleep(ctx context.Context, d time.Duration) error {
	if clock.Sleep(ctx, a.clock, d) != nil {
		return context.Cause(ctx)
	}
	return nil
}

// terminal returns the terminal behind a stream, if there is one.
func terminal(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && isatty.IsTerminal(f.Fd())
}

// remote are the flags of the commands that call the API.
type remote struct {
	URL     string `name:"url" placeholder:"URL" help:"Address of the API; else PERIGEE_URL, else http://127.0.0.1:8080."`
	KeyFile string `placeholder:"FILE" help:"File that holds the API key; else PERIGEE_KEY or PERIGEE_KEY_FILE. The key itself is no flag: other users could read it in the list of processes."`
}

func (r *remote) connect(a *app) (*client.Client, error) { return r.connectWith(a, client.Retry{}) }

func (r *remote) connectWith(a *app, retry client.Retry) (*client.Client, error) {
	c := client.Config{BaseURL: r.URL, Key: a.lookup("PERIGEE_KEY"), UserAgent: "perigee/" + version(), Retry: retry, Clock: a.clock}
	if c.BaseURL == "" {
		c.BaseURL = a.lookup("PERIGEE_URL")
	}
	file := r.KeyFile
	if file == "" && c.Key == "" {
		file = a.lookup("PERIGEE_KEY_FILE")
	}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read API key: %w", err)
		}
		c.Key = strings.TrimSpace(string(b))
	}
	return a.connect(c)
}
