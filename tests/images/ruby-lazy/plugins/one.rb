def plugin
  "plugin one"
end
