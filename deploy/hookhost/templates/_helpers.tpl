{{/* Name of everything that is made: the release's name, with hookhost in it. Room is left for suffixes. */}}
{{- define "hookhost.name" -}}
{{- $name := ternary .Release.Name (printf "%s-hookhost" .Release.Name) (contains "hookhost" .Release.Name) -}}
{{- $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels by which pods are selected; they can never change. */}}
{{- define "hookhost.selector" -}}
app.kubernetes.io/name: hookhost
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of everything. */}}
{{- define "hookhost.labels" -}}
{{ include "hookhost.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Keeps a RoleBinding until hookhost has taken its finalizer off the Jobs there; hookhost, or the Job that uninstalls it, takes
this one off last. Not where nothing would: without that Job. */}}
{{- define "hookhost.rightsFinalizer" -}}
{{- if .Values.uninstall.releaseJobs -}}
finalizers: [hookhost.vworkspace.io/rights]
{{- end -}}
{{- end -}}

{{- define "hookhost.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Arguments that the controller and the uninstaller share. */}}
{{- define "hookhost.args" -}}
- --lease-name={{ include "hookhost.name" . }}
- --lease-namespace={{ .Release.Namespace }}
- --claim-secret={{ include "hookhost.name" . }}-claim-key
{{- with .Values.namespaceSelector }}
- --namespace-selector={{ . }}
{{- end }}
- --role-bindings={{ include "hookhost.name" . }},{{ include "hookhost.name" . }}-by-hand
- --closure-role-bindings={{ include "hookhost.name" . }}-closure,{{ include "hookhost.name" . }}-closure-roles
- --log-format={{ .Values.logFormat }}
- --log-level={{ .Values.logLevel }}
{{- end -}}

{{/* What a container of hookhost may do; nothing of it is needed, so nothing of it is a value. */}}
{{- define "hookhost.containerSecurityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What both kinds of pods have in common. */}}
{{- define "hookhost.pod" -}}
serviceAccountName: {{ include "hookhost.name" . }}
# The account itself says no, so that nothing else gets its token by mistake.
automountServiceAccountToken: true
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
