{{/* The spec of a hook's pod. Of .hook: script, image, restartPolicy, grace (seconds to end in), pod (more of the spec), container (more of the container), own. */}}
{{- define "shop.pod" -}}
serviceAccountName: {{ and (hasKey .hook "own") (ne (toString .hook.own.account) "false") | ternary .own .release }}
restartPolicy: {{ .hook.restartPolicy | default "Never" }}
terminationGracePeriodSeconds: {{ .hook.grace | default 0 }}
{{- with .hook.pod }}
{{ toYaml . }}
{{- end }}
containers:
  - name: main
    image: {{ .hook.image | default "localhost/busybox:1" }}
    command: [sh, -c, {{ .hook.script | quote }}]
    env:
      - name: RELEASE
        valueFrom: {configMapKeyRef: {name: {{ .release }}, key: release}}
      - name: PASSWORD
        valueFrom: {secretKeyRef: {name: {{ .release }}, key: password}}
      - name: CHART
        value: {{ .chart | quote }}
    {{- if hasKey .hook "own" }}
    envFrom:
      - configMapRef: {name: {{ .own }}}
    {{- end }}
    {{- with .hook.container }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
