package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"perigee/bench/program"
)

// mode is a way to set a server up.
type mode struct {
	name string
	ram  bool // small objects may be held in memory
	log  bool // with access log and metrics
}

var modes = []mode{{"ram", true, false}, {"disk", false, false}, {"log", true, true}}

// server is one program under test.
type server struct {
	name, version string
	prefix        string // before the objects' paths
	// launch starts it on core 0 with its cache below dir, listening on addr. extra are processes that do its work but are not its children.
	launch func(b *bench, m mode, dir, addr string) (main *program.Program, extra []*program.Program, helpers []*program.Program, err error)
}

// installed returns Perigee and the peers that this machine has.
func installed(o options) []server {
	out := []server{{name: "perigee", version: program.FirstLine(o.perigee, "version"), launch: launchPerigee}}
	if _, err := exec.LookPath("nginx"); err == nil {
		out = append(out, server{name: "nginx", version: program.FirstLine("nginx", "-v"), prefix: "/web", launch: launchNginx})
	}
	if _, err := exec.LookPath("varnishd"); err == nil {
		out = append(out, server{name: "varnish", version: program.FirstLine("varnishd", "-V"), prefix: "/web", launch: launchVarnish})
	}
	if _, err := exec.LookPath("traffic_server"); err == nil {
		out = append(out, server{name: "trafficserver", version: program.FirstLine("traffic_server", "-V"), prefix: "/web", launch: launchTrafficServer})
	}
	return out
}

func launchPerigee(b *bench, m mode, dir, addr string) (*program.Program, []*program.Program, []*program.Program, error) {
	busAddr, apiAddr, ram, access := freeAddr(), freeAddr(), "512MiB", `""`
	if !m.ram {
		ram = "0"
	}
	admin := `""`
	if m.log {
		access, admin = filepath.Join(dir, "access.log"), freeAddr()
	}
	config := filepath.Join(dir, "perigee.yaml")
	yaml := fmt.Sprintf(`
data: %s
api: {listen: "%s"}
storage: {endpoint: "http://%s", access_key: writer, secret_key: writer-secret, edge_access_key: reader, edge_secret_key: reader-secret}
bus: {url: "nats://%s", listen: "%s"}
edges:
  - {name: bench, listen: "%s", admin: %s, cache: %s, cache_size: 24GiB, ram: %s, access_log: {path: %s, max_size: 0}, place: {name: Here, country: DE, lat: 50, lon: 8}}
`, dir, apiAddr, b.originAddr, busAddr, busAddr, addr, admin, filepath.Join(dir, "cache"), ram, access)
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		return nil, nil, nil, err
	}
	bus, err := program.Start("1", filepath.Join(dir, "bus.log"), b.perigee, "bus", "--config", config)
	if err != nil {
		return nil, nil, nil, err
	}
	time.Sleep(time.Second) // its keys are in the data directory by then
	api, err := program.Start("1", filepath.Join(dir, "api.log"), b.perigee, "upload", "--config", config)
	if err != nil {
		return nil, nil, []*program.Program{bus}, err
	}
	time.Sleep(2 * time.Second) // the log exists by then; without it the edge would have no lease
	main, err := program.Start("0", filepath.Join(dir, "edge.log"), b.perigee, "edge", "--name", "bench", "--config", config)
	return main, nil, []*program.Program{bus, api}, err
}

// relaunchPerigee starts the edge alone again, on what is there.
func relaunchPerigee(b *bench, dir string) (*program.Program, error) {
	return program.Start("0", filepath.Join(dir, "edge.log"), b.perigee, "edge", "--name", "bench", "--config", filepath.Join(dir, "perigee.yaml"))
}

func launchNginx(b *bench, m mode, dir, addr string) (*program.Program, []*program.Program, []*program.Program, error) {
	access := "off"
	if m.log {
		access = filepath.Join(dir, "access.log") + " combined buffer=64k flush=1s"
	}
	conf := fmt.Sprintf(`daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid %[1]s/pid; error_log %[1]s/error.log warn; user root;
events { worker_connections 4096; }
http {
  sendfile on; tcp_nodelay on; keepalive_requests 1000000000; access_log %[4]s;
  open_file_cache max=15000 inactive=60s; open_file_cache_valid 60s;
  proxy_cache_path %[1]s/cache levels=1:2 keys_zone=c:512m max_size=24g inactive=1d use_temp_path=off;
  proxy_temp_path %[1]s/tmp; client_body_temp_path %[1]s/body; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream origin { server %[2]s; keepalive 64; }
  server {
    listen %[3]s;
    location / {
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_cache c; proxy_cache_valid 200 1d; proxy_cache_lock on;
    }
  }
}
`, dir, b.originAddr, addr, access)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, nil, nil, err
	}
	main, err := program.Start("0", filepath.Join(dir, "nginx.log"), "nginx", "-p", dir, "-c", file)
	return main, nil, nil, err
}

func launchVarnish(b *bench, m mode, dir, addr string) (*program.Program, []*program.Program, []*program.Program, error) {
	storage := "malloc,12G"
	if !m.ram {
		storage = "file," + filepath.Join(dir, "storage") + ",12G"
	}
	work := filepath.Join(dir, "work")
	main, err := program.Start("0", filepath.Join(dir, "varnish.log"), "varnishd", "-F", "-j", "none", "-n", work, "-a", addr, "-b", b.originAddr, "-T", "none",
		"-s", storage, "-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "thread_pool_max=1000")
	if err != nil || !m.log {
		return main, nil, nil, err
	}
	time.Sleep(2 * time.Second)
	ncsa, err := program.Start("0", filepath.Join(dir, "ncsa.log"), "varnishncsa", "-n", work, "-w", filepath.Join(dir, "access.log"), "-F", combined)
	return main, []*program.Program{ncsa}, nil, err
}

const combined = `%h %l %u %t "%r" %s %b "%{Referer}i" "%{User-agent}i"`

// launchTrafficServer sets it up by a layout of its own below dir.
func launchTrafficServer(b *bench, m mode, dir, addr string) (*program.Program, []*program.Program, []*program.Program, error) {
	root := filepath.Join(dir, "ts")
	conf := filepath.Join(root, "etc")
	for _, d := range []string{conf, "var/log", "var/run", "var/cache", "share"} {
		if !filepath.IsAbs(d) {
			d = filepath.Join(root, d)
		}
		if err := errors.Join(os.MkdirAll(d, 0o777), os.Chmod(d, 0o777)); err != nil { // it gives up its rights
			return nil, nil, nil, err
		}
	}
	_, port, _ := strings.Cut(addr, ":")
	ram, logging := "4G", 0
	if !m.ram {
		ram = "0"
	}
	if m.log {
		logging = 3
	}
	files := map[string]string{
		"runroot.yaml": "",
		"etc/records.config": fmt.Sprintf(`CONFIG proxy.config.http.server_ports STRING %s:ip-in=127.0.0.1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.cache.ram_cache.size INT %s
CONFIG proxy.config.log.logging_enabled INT %d
CONFIG proxy.config.admin.user_id STRING nobody
CONFIG proxy.config.http.cache.required_headers INT 0
CONFIG proxy.config.diags.show_location INT 0
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 120
`, port, ram, logging),
		"etc/remap.config":   "map / http://" + b.originAddr + "/\n",
		"etc/storage.config": filepath.Join(root, "var/cache") + " 12G\n",
		"etc/plugin.config":  "", "etc/ip_allow.yaml": "ip_allow:\n  - {apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL}\n",
		"etc/logging.yaml": "logging:\n  formats:\n    - {name: c, format: '%<chi> - %<caun> [%<cqtn>] \"%<cqtx>\" %<pssc> %<pscl>'}\n  logs:\n    - {filename: access, format: c}\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return nil, nil, nil, err
		}
	}
	main, err := program.Start("0", filepath.Join(dir, "ts.log"), "env", "PROXY_CONFIG_CONFIG_DIR="+conf, "PROXY_CONFIG_LOCAL_STATE_DIR="+filepath.Join(root, "var/run"),
		"PROXY_CONFIG_LOG_LOGFILE_DIR="+filepath.Join(root, "var/log"), "traffic_server", "-k")
	return main, nil, nil, err
}
