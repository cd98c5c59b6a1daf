package telemetry

import "strings"

// windowsServices are Sigma's services by the channel of the event log.
var windowsServices = map[string]string{
	"Application":                             "application",
	"DNS Server":                              "dns-server",
	"Linux-Sysmon/Operational":                "sysmon",
	"MSExchange Management":                   "msexchange-management",
	"OpenSSH/Operational":                     "openssh",
	"PowerShellCore/Operational":              "powershell",
	"Security":                                "security",
	"System":                                  "system",
	"Windows PowerShell":                      "powershell-classic",
	"Microsoft-IIS-Configuration/Operational": "iis-configuration",
	"Microsoft-ServiceBus-Client":             "microsoft-servicebus-client",
	"Microsoft-ServiceBus-Client/Admin":       "microsoft-servicebus-client",
	"Microsoft-ServiceBus-Client/Operational": "microsoft-servicebus-client",

	"Microsoft-Windows-AppLocker/EXE and DLL":                                  "applocker",
	"Microsoft-Windows-AppLocker/MSI and Script":                               "applocker",
	"Microsoft-Windows-AppLocker/Packaged app-Deployment":                      "applocker",
	"Microsoft-Windows-AppLocker/Packaged app-Execution":                       "applocker",
	"Microsoft-Windows-AppModel-Runtime/Admin":                                 "appmodel-runtime",
	"Microsoft-Windows-AppXDeploymentServer/Operational":                       "appxdeployment-server",
	"Microsoft-Windows-Application-Experience/Program-Compatibility-Assistant": "application-experience",
	"Microsoft-Windows-Application-Experience/Program-Telemetry":               "application-experience",
	"Microsoft-Windows-AppxPackaging/Operational":                              "appxpackaging-om",
	"Microsoft-Windows-BitLocker/BitLocker Management":                         "bitlocker",
	"Microsoft-Windows-Bits-Client/Operational":                                "bits-client",
	"Microsoft-Windows-CAPI2/Operational":                                      "capi2",
	"Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational": "certificateservicesclient-lifecycle-system",
	"Microsoft-Windows-CodeIntegrity/Operational":                              "codeintegrity-operational",
	"Microsoft-Windows-DHCP-Server/Operational":                                "dhcp",
	"Microsoft-Windows-DNS Client Events/Operational":                          "dns-client",
	"Microsoft-Windows-DNS-Client/Operational":                                 "dns-client",
	"Microsoft-Windows-DNS-Server/Analytical":                                  "dns-server-analytic",
	"Microsoft-Windows-DNS-Server/Audit":                                       "dns-server-audit",
	"Microsoft-Windows-Diagnosis-Scripted/Operational":                         "diagnosis-scripted",
	"Microsoft-Windows-DriverFrameworks-UserMode/Operational":                  "driver-framework",
	"Microsoft-Windows-Hyper-V-Worker":                                         "hyper-v-worker",
	"Microsoft-Windows-Hyper-V-Worker-Admin":                                   "hyper-v-worker",
	"Microsoft-Windows-Kernel-EventTracing":                                    "kernel-event-tracing",
	"Microsoft-Windows-Kernel-EventTracing/Admin":                              "kernel-event-tracing",
	"Microsoft-Windows-Kernel-ShimEngine/Diagnostic":                           "kernel-shimengine",
	"Microsoft-Windows-Kernel-ShimEngine/Operational":                          "kernel-shimengine",
	"Microsoft-Windows-LDAP-Client/Debug":                                      "ldap",
	"Microsoft-Windows-LSA/Operational":                                        "lsa-server",
	"Microsoft-Windows-NTLM/Operational":                                       "ntlm",
	"Microsoft-Windows-Ntfs/Operational":                                       "ntfs",
	"Microsoft-Windows-PowerShell/Operational":                                 "powershell",
	"Microsoft-Windows-PrintService/Admin":                                     "printservice-admin",
	"Microsoft-Windows-PrintService/Operational":                               "printservice-operational",
	"Microsoft-Windows-SENSE/Operational":                                      "sense",
	"Microsoft-Windows-Security-Mitigations/Kernel Mode":                       "security-mitigations",
	"Microsoft-Windows-Security-Mitigations/KernelMode":                        "security-mitigations",
	"Microsoft-Windows-Security-Mitigations/User Mode":                         "security-mitigations",
	"Microsoft-Windows-Security-Mitigations/UserMode":                          "security-mitigations",
	"Microsoft-Windows-Shell-Core/Operational":                                 "shell-core",
	"Microsoft-Windows-SmbClient/Connectivity":                                 "smbclient-connectivity",
	"Microsoft-Windows-SmbClient/Security":                                     "smbclient-security",
	"Microsoft-Windows-SMBServer/Connectivity":                                 "smbserver-connectivity",
	"Microsoft-Windows-Sysmon/Operational":                                     "sysmon",
	"Microsoft-Windows-TaskScheduler/Operational":                              "taskscheduler",
	"Microsoft-Windows-TerminalServices-LocalSessionManager/Operational":       "terminalservices-localsessionmanager",
	"Microsoft-Windows-VHDMP/Operational":                                      "vhdmp",
	"Microsoft-Windows-VHDMP-Operational":                                      "vhdmp",
	"Microsoft-Windows-WMI-Activity/Operational":                               "wmi",
	"Microsoft-Windows-Windows Defender/Operational":                           "windefend",
	"Microsoft-Windows-Windows Firewall With Advanced Security/Firewall":       "firewall-as",
}

// windowsProviders stand in for a channel that a source leaves out.
var windowsProviders = map[string]string{
	"Linux-Sysmon":                        "sysmon",
	"Microsoft-Windows-PowerShell":        "powershell",
	"Microsoft-Windows-Security-Auditing": "security",
	"Microsoft-Windows-Sysmon":            "sysmon",
	"Microsoft-Windows-TaskScheduler":     "taskscheduler",
	"Microsoft-Windows-WMI-Activity":      "wmi",
	"Microsoft-Windows-Windows Defender":  "windefend",
	"PowerShell":                          "powershell-classic",
	"PowerShellCore":                      "powershell",
	"Service Control Manager":             "system",
}

var foldedServices = func() map[string]string {
	m := make(map[string]string, len(windowsServices))
	for channel, service := range windowsServices {
		m[strings.ToLower(channel)] = service
	}
	return m
}()

// windowsService returns Sigma's service for a channel, whose case counts for
// nothing; "" if it has none.
func windowsService(channel, provider string) string {
	if channel == "" {
		return windowsProviders[provider]
	}
	if service, ok := windowsServices[channel]; ok {
		return service
	}
	return foldedServices[strings.ToLower(channel)]
}
