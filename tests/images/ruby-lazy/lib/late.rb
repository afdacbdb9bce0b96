def late
  "late"
end
