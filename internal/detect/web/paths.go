package web

import "strings"

// Sensitivity says how far asking for a path is a sign of scanning: 0 not at
// all, 1 a page of a product that links to it (a log-in page, an admin
// console), 2 a file that nothing links to. What is the part of the path that
// says so: all that is asked for below one console counts once.
func Sensitivity(path string) (weight int, what string) {
	p := strings.ToLower(path)
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	if strings.HasPrefix(p, "/.well-known/") {
		return 0, ""
	}
	last := p[strings.LastIndexByte(p, '/')+1:]
	if hiddenFiles[last] || strings.HasPrefix(last, ".env") || strings.HasPrefix(last, ".htpasswd") || strings.HasPrefix(last, "w00tw00t") {
		return 2, p
	}
	for _, dir := range hiddenDirs {
		if strings.Contains(p, dir) {
			return 2, p
		}
	}
	if dot := strings.LastIndexByte(last, '.'); dot > 0 {
		switch last[dot:] {
		case ".sql", ".bak", ".old", ".swp", ".save", ".orig", ".kdbx", ".pem", ".key", ".pfx":
			return 1, p
		case ".zip", ".gz", ".tgz", ".rar", ".7z", ".tar":
			if backupNames[strings.TrimSuffix(last[:dot], ".tar")] {
				return 2, p
			}
		}
	}
	if consoleFiles[last] {
		return 1, p
	}
	for _, c := range consoles {
		if i := strings.Index(p+"/", c+"/"); i >= 0 {
			return 1, p[:i+len(c)]
		}
	}
	return 0, ""
}

var backupNames = set("backup", "backups", "www", "wwwroot", "site", "html", "public_html", "htdocs", "db", "dump", "database", "web", "website", "old")

// Files that a server should not serve and that no page links to.
var hiddenFiles = set(
	".env", ".htpasswd", ".htaccess", ".bash_history", ".mysql_history", ".psql_history", ".sh_history", ".zsh_history",
	".ssh", ".bashrc", ".profile", ".netrc", ".npmrc", ".pgpass", ".my.cnf", ".dockercfg", ".dockerenv", ".ftpconfig",
	".git", ".gitconfig", ".gitignore", ".git-credentials", ".svn", ".hg", ".bzr", ".cvsignore", ".ds_store", ".listing",
	".listings", ".passwd", ".pwd", ".passwords", ".config", ".history", ".idea", ".vscode", ".aws", ".s3cfg", ".travis.yml",
	"wp-config.php", "wp-config.php.bak", "wp-config.php~", "wp-config.old", "wp-config.txt", "id_rsa", "id_dsa", "id_ed25519", "authorized_keys",
	"web.config", "docker-compose.yml", "dockerfile", "config.php.bak", "configuration.php.bak", "database.yml", "secrets.yml",
	"credentials.json", "service-account.json", "appsettings.json", "sftp-config.json", "phpinfo.php", "info.php", "shell.php",
	"c99.php", "r57.php", "wso.php", "cmd.php", "eval-stdin.php", "webshell.php", "alfa.php", "x.php", "server-status", "dump.sql", "backup.sql",
	"db.sql", "database.sql", "passwd", "shadow", "boot.ini", "win.ini", "elmah.axd", "trace.axd",
)

// Directories, and parts of paths, of the same kind.
var hiddenDirs = []string{
	"/.git/", "/.svn/", "/.hg/", "/.aws/", "/.ssh/", "/.docker/", "/.kube/", "/.vscode/", "/.idea/", "/cgi-bin/.",
	"/vendor/phpunit/", "/phpunit/", "/geoserver/web", "/boaform/", "/hnap1", "/gponform/", "/setup.cgi", "/_ignition/",
	"/actuator/", "/jmx-console", "/invoker/jmx", "/solr/admin", "/owa/auth/x.js", "/autodiscover/autodiscover.xml",
	"/.%2e/", "/etc/passwd", "/proc/self", "/wp-content/plugins/wp-file-manager/", "/sap/bc/", "/crx/packmgr", "/crx/de",
	"/cgi-bin/luci", "/cgi-bin/videoconfiguration", "/debug/pprof", "/console/login/loginform", "/struts", "/api/jsonws",
	"/telescope/requests", "/remote/fgt_lang", "/dana-na/", "/vpn/index.html", "/solarwinds", "/nmaplowercheck", "/evox/about",
}

// Log-in pages and consoles, which products do link to.
var consoleFiles = set(
	"wp-login.php", "xmlrpc.php", "setup-config.php", "install.php", "admin.php", "administrator.php", "login.action", "login.jsp", "manager.html",
	"adminer.php", "pma.php", "upgrade.php", "wlwmanifest.xml", "console", "fckeditor.html", "connector.php", "user.action",
)

var consoles = []string{
	"/wp-admin", "/wp-login.php", "/administrator", "/phpmyadmin", "/pma", "/myadmin", "/mysqladmin", "/dbadmin", "/phppgadmin", "/adminer",
	"/manager/html", "/host-manager/html", "/jenkins", "/hudson", "/solr", "/kibana", "/grafana", "/nagios", "/zabbix", "/cacti", "/webmin",
	"/phpmyadmin2", "/sqladmin", "/admin", "/admin/login", "/admin/config", "/user/register", "/user/login", "/node/add", "/fckeditor", "/ckeditor",
	"/cgi-bin/test.cgi", "/cgi-bin/php", "/tomcat", "/nwa", "/irj/portal", "/webdav", "/druid/index.html", "/nacos", "/swagger-ui.html", "/v2/_catalog",
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}
