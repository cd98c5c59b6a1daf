package model

import "strings"

// Categories of words.
const (
	kindSQL      = 'S' // a keyword of SQL
	kindSQLFunc  = 'Q' // a function or table that injections use
	kindScript   = 'J' // of JavaScript and the DOM
	kindTag      = 'H' // an HTML element
	kindHandler  = 'E' // an event handler
	kindCommand  = 'C' // a program that shells run
	kindCode     = 'P' // of server-side languages
	kindFile     = 'F' // of files that attacks read
	kindTemplate = 'T' // of template engines
	kindLogic    = 'L' // and, or, not
	kindScheme   = 'U' // a URL's scheme
	kindHeader   = 'R' // of HTTP and mail headers
)

// words are the lexicon by category. A word stands in one category only; what
// is also a plain word (select, or, id) is left to its context, which the
// features hold.
var words = map[byte]string{
	kindLogic: "and or not xor like rlike regexp between is null in div mod",
	kindSQL: `select union all distinct from where having order by group limit offset into outfile dumpfile values insert update delete drop table
		database create alter truncate exec execute declare set as case when then else end exists join procedure analyse begin waitfor delay
		cast convert top asc desc shutdown collate boolean returns handler replace grant escape if iif`,
	kindSQLFunc: `sleep benchmark pg_sleep dbms_lock dbms_pipe receive_message randomblob char chr ascii ord substring substr mid concat concat_ws group_concat
		extractvalue updatexml elt floor rand count information_schema table_name column_name schema_name tables columns schemata sysobjects syscolumns
		xp_cmdshell xp_dirtree xp_regread sp_executesql sp_oacreate load_file version user current_user session_user system_user dual sysibm systables rdb sqlite_master sqlite_version
		pg_user pg_catalog pg_shadow pg_read_file mysql master sysdatabases msysaccessobjects utl_inaddr utl_http get_host_address get_host_name ctxsys drithsx xmltype regexp_substring crypt_key
		generate_series domain make_set row hex unhex md5 sha1 length len upper lower ifnull nullif coalesce isnull bin_to_num decode procedure_analyse json_extract exp polygon geometrycollection multipoint name_const sys all_tables all_users user_tables openrowset`,
	kindScript: `javascript vbscript livescript mocha alert confirm prompt eval document cookie window location settimeout setinterval fromcharcode innerhtml
		outerhtml constructor atob btoa fetch xmlhttprequest localstorage sessionstorage write writeln domain href console expression string function top self parent frames
		this throw import onerror srcdoc msgbox unescape decodeuri escape_html postmessage getelementbyid queryselector appendchild createelement name src dynsrc lowsrc behavior binding moz`,
	kindTag: `script img svg iframe body object embed video audio input button form a div span style link meta base marquee details isindex math
		textarea table td tr th frame frameset layer ilayer xss html head title p b i u br h1 h2 h3 ul ol li strong em code pre blockquote keygen source applet bgsound
		animate foreignobject use image noscript template xml plaintext listing xmp dialog custom`,
	kindCommand: `cat ls id whoami uname pwd ping wget curl nc ncat netcat bash sh zsh ksh csh dash cmd powershell pwsh exe dir type ipconfig ifconfig netstat
		echo printf ps kill rm cp mv chmod chown touch tail less more nslookup dig telnet ftp tftp ssh scp python python3 perl ruby php node gcc awk sed grep
		find xargs env sleep timeout tee which certutil bitsadmin mshta rundll32 regsvr32 wmic schtasks net systeminfo tasklist taskkill hostname lsof crontab base64 ifs bin sbin usr
		passthru shell_exec busybox socat openssl sudo su nohup rev xxd od nl tac hostnamectl lua reg copy del attrib traceroute`,
	kindCode: `system popen proc_open phpinfo assert preg_replace include require include_once require_once base64_decode gzinflate create_function file_get_contents
		file_put_contents fopen readfile call_user_func array_map var_dump print print_r die exit _get _post _request _cookie _server globals stdclass runtime getruntime processbuilder java lang
		javax class classloader module forname newinstance jndi ldap ldaps rmi ognl child_process execsync spawn spawnsync process mainmodule __proto__ prototype __import__ os subprocess
		__class__ __mro__ __subclasses__ __globals__ __builtins__ __init__ builtins config request application lipsum cycler joiner namespace readlines getclass
		freemarker utility assign kernel io open marshal pickle yaml mbean scriptengine nashorn spel memberaccess actioncontext servletactioncontext xwork struts methodaccessor
		entity doctype element cdata xinclude xi xsl stylesheet xmlns public printenv virtual ne gt gte lt lte nin regex accumulator objectclass uid cn userpassword memberof samaccountname str_rot13 unserialize serialize`,
	kindFile: `etc passwd shadow hosts proc environ cmdline win ini boot windows system32 winnt inetpub wwwroot htaccess htpasswd web_inf inf meta_inf
		ssh id_rsa authorized_keys bash_history var log access error apache apache2 nginx httpd conf global asa phpunit git svn env sam repair drivers autoexec
		bat mysqld my cnf credentials aws kube master_passwd group issue motd fstab self_environ fd root web`,
	kindTemplate: `foreach endfor endif extends macro block render dump getattribute attr filter format`,
	kindScheme:   `http https file gopher dict data phar expect zip zlib compress glob jar netdoc sftp localhost metadata internal`,
	kindHeader:   `cookie_ content bcc cc to subject refresh redirect mime`,
}

// lexicon is words by word.
var lexicon = func() map[string]byte {
	out := map[string]byte{}
	for _, kind := range []byte{kindLogic, kindSQL, kindSQLFunc, kindScript, kindTag, kindCommand, kindCode, kindFile, kindTemplate, kindScheme, kindHeader} {
		for w := range strings.FieldsSeq(words[kind]) {
			if _, taken := out[w]; !taken {
				out[w] = kind
			}
		}
	}
	return out
}()
